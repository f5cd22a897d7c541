package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

const (
	apiPort        = 10250
	requestsServer = "127.0.0.1:10240"
	idle           = 4 * time.Hour
	creation       = 30 * time.Second
)

// serveAPI serves what kubectl uses of a kubelet, port-forward and logs, and the counts of requests in plain text.
func (k *kubelet) serveAPI() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubelet"}, NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(k.logs, filepath.Base(r.PathValue("pod"))+".log"))
	})
	go func() { log.Fatal(http.ListenAndServe(requestsServer, &k.requests)) }()
	server := &http.Server{
		Addr: net.JoinHostPort(k.nodeIP, strconv.Itoa(apiPort)), Handler: mux,
		TLSConfig: &tls.Config{
			NextProtos:   []string{"http/1.1"}, // port-forward upgrades the connection
			Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	forwarder := forwarder{k, r.PathValue("namespace")}
	portforward.ServePortForward(w, r, forwarder, r.PathValue("pod"), "", options, idle, creation, portforward.SupportedProtocols)
}

// forwarder connects streams to Pods of one namespace.
type forwarder struct {
	*kubelet
	namespace string
}

func (f forwarder) PortForward(ctx context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	it, err := f.client.CoreV1().Pods(f.namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return err
	}
	connection, err := net.Dial("tcp", net.JoinHostPort(it.Status.PodIP, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	join(stream, connection.(*net.TCPConn))
	return nil
}
