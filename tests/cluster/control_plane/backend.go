package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
)

// mirroredHeader marks mirrored requests.
const mirroredHeader = "x-xds-shadow"

type counts struct {
	Image           string
	Total, Mirrored atomic.Int64
}

// requests counts what every Pod has received: "namespace/pod" -> *counts.
type requests struct{ pods sync.Map }

func (r *requests) of(it *core.Pod) *counts {
	found, _ := r.pods.LoadOrStore(it.Namespace+"/"+it.Name, &counts{Image: it.Spec.Containers[0].Image})
	return found.(*counts)
}

func (r *requests) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	found := map[string]map[string]any{}
	r.pods.Range(func(name, value any) bool {
		it := value.(*counts)
		found[name.(string)] = map[string]any{"image": it.Image, "total": it.Total.Load(), "mirrored": it.Mirrored.Load()}
		return true
	})
	json.NewEncoder(w).Encode(found)
}

// backend answers every request on each container port with the Pod's image and name.
type backend struct {
	pod     *core.Pod
	ip      string
	counts  *counts
	mu      sync.Mutex
	servers []*http.Server
}

func (b *backend) start(context.Context) error {
	for _, container := range b.pod.Spec.Containers {
		for _, port := range container.Ports {
			if err := b.serve(net.JoinHostPort(b.ip, strconv.Itoa(int(port.ContainerPort)))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *backend) serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.counts.Total.Add(1)
		if r.Header.Get(mirroredHeader) != "" {
			b.counts.Mirrored.Add(1)
		}
		io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, b.counts.Image, b.pod.Name)
	})}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	b.mu.Lock()
	b.servers = append(b.servers, server)
	b.mu.Unlock()
	go server.Serve(listener)
	return nil
}

func (b *backend) ready(context.Context) bool { return true }

func (b *backend) stop(grace time.Duration) {
	b.mu.Lock()
	servers := b.servers
	b.servers = nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}
}
