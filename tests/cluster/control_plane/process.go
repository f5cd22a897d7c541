package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mountToken starts a command with the ServiceAccount's files at their usual place, in a mount namespace of its own.
const mountToken = `set -e
directory=$1 && shift
mount -t tmpfs tmpfs /run
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
mount --bind "$directory" /var/run/secrets/kubernetes.io/serviceaccount
exec "$@"`

const serviceAccountToken = 3607 // seconds, as a kubelet requests

// process runs the Pod's first container as a process. All Pods share one network namespace, so addresses in the
// container's arguments become the Pod's own.
type process struct {
	kubelet *kubelet
	pod     *core.Pod
	ip      string
	program string
	mu      sync.Mutex
	command *exec.Cmd
	exited  chan struct{}
}

func (p *process) start(ctx context.Context) error {
	files, err := p.serviceAccountFiles(ctx)
	if err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(p.kubelet.logs, p.pod.Name+".log"))
	if err != nil {
		return err
	}
	defer output.Close()
	container := p.pod.Spec.Containers[0]
	arguments := []string{"--mount", "sh", "-c", mountToken, "sh", files, p.program}
	for _, argument := range container.Args {
		argument = strings.ReplaceAll(argument, "=0.0.0.0:", "="+p.ip+":")
		arguments = append(arguments, strings.ReplaceAll(argument, "=127.0.0.1:", "="+p.ip+":"))
	}
	command := exec.Command("unshare", arguments...)
	command.Env = append(p.environment(container), "PATH="+os.Getenv("PATH"), "PYTHONPATH="+os.Getenv("PYTHONPATH"))
	command.Stdout, command.Stderr = output, output
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := command.Start(); err != nil {
		return err
	}
	p.command, p.exited = command, make(chan struct{})
	go func() { command.Wait(); close(p.exited) }()
	return nil
}

// serviceAccountFiles requests a token that is bound to the Pod, as a kubelet does for a projected volume.
func (p *process) serviceAccountFiles(ctx context.Context) (string, error) {
	seconds := int64(serviceAccountToken)
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.pod.Name, UID: p.pod.UID}}}
	accounts := p.kubelet.client.CoreV1().ServiceAccounts(p.pod.Namespace)
	token, err := accounts.CreateToken(ctx, p.pod.Spec.ServiceAccountName, request, meta.CreateOptions{})
	if err != nil {
		return "", err
	}
	authority, err := p.kubelet.client.CoreV1().ConfigMaps(p.pod.Namespace).Get(ctx, "kube-root-ca.crt", meta.GetOptions{})
	if err != nil {
		return "", err
	}
	directory := filepath.Join(p.kubelet.logs, p.pod.Name+".serviceaccount")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", err
	}
	for name, content := range map[string]string{
		"token": token.Status.Token, "ca.crt": authority.Data["ca.crt"], "namespace": p.pod.Namespace} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return directory, nil
}

func (p *process) environment(container core.Container) []string {
	fields := map[string]string{
		"metadata.name": p.pod.Name, "metadata.namespace": p.pod.Namespace, "status.podIP": p.ip, "status.podIPs": p.ip}
	found := []string{"KUBERNETES_SERVICE_HOST=" + kubernetesService, "KUBERNETES_SERVICE_PORT=443"}
	for _, each := range container.Env {
		value := each.Value
		if each.ValueFrom != nil && each.ValueFrom.FieldRef != nil {
			value = fields[each.ValueFrom.FieldRef.FieldPath]
		}
		found = append(found, fmt.Sprintf("%s=%s", each.Name, value))
	}
	return found
}

// ready asks the readiness probe of the container, which has to be one of gRPC.
func (p *process) ready(ctx context.Context) bool {
	probe := p.pod.Spec.Containers[0].ReadinessProbe
	ctx, cancel := context.WithTimeout(ctx, time.Duration(probe.TimeoutSeconds)*time.Second)
	defer cancel()
	address := net.JoinHostPort(p.ip, strconv.Itoa(int(probe.GRPC.Port)))
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer connection.Close()
	response, err := health.NewHealthClient(connection).Check(ctx, &health.HealthCheckRequest{})
	return err == nil && response.Status == health.HealthCheckResponse_SERVING
}

func (p *process) stop(grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		return
	}
	p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(grace):
		p.command.Process.Kill()
		<-p.exited
	}
}
