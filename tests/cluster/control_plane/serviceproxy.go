package main

import (
	"io"
	"log"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// kubernetesService is the cluster IP of the API server: the first address of the Services' range.
const kubernetesService = "10.96.0.1"

// serviceProxy stands in for kube-proxy: it accepts connections at the cluster IPs of some Services and forwards each
// to an endpoint that is ready at that moment.
type serviceProxy struct {
	factory   informers.SharedInformerFactory
	names     []string // namespace/name
	mu        sync.Mutex
	listening map[string]bool
}

func startServiceProxy(factory informers.SharedInformerFactory, names []string) {
	p := &serviceProxy{factory: factory, names: names, listening: map[string]bool{}}
	factory.Discovery().V1().EndpointSlices().Informer()
	factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(it any) { p.listen(it.(*core.Service)) },
		UpdateFunc: func(_, it any) { p.listen(it.(*core.Service)) },
	})
}

func (p *serviceProxy) listen(it *core.Service) {
	if !slices.Contains(p.names, it.Namespace+"/"+it.Name) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range it.Spec.Ports {
		address := net.JoinHostPort(it.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
		if p.listening[address] {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			log.Printf("%s/%s: %v", it.Namespace, it.Name, err)
			continue
		}
		p.listening[address] = true
		go p.accept(listener, it.Namespace, it.Name, port.Name)
	}
}

func (p *serviceProxy) accept(listener net.Listener, namespace, name, port string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Printf("%s/%s: %v", namespace, name, err)
			return
		}
		go p.forward(connection.(*net.TCPConn), namespace, name, port)
	}
}

func (p *serviceProxy) forward(client *net.TCPConn, namespace, name, port string) {
	defer client.Close()
	addresses := p.ready(namespace, name, port)
	if len(addresses) == 0 {
		client.SetLinger(0) // a reset, as kube-proxy gives for a Service without endpoints
		return
	}
	connection, err := net.Dial("tcp", addresses[rand.IntN(len(addresses))])
	if err != nil {
		client.SetLinger(0)
		return
	}
	join(client, connection.(*net.TCPConn))
}

func (p *serviceProxy) ready(namespace, name, port string) []string {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: name})
	found, err := p.factory.Discovery().V1().EndpointSlices().Lister().EndpointSlices(namespace).List(selector)
	if err != nil {
		log.Printf("%s/%s: %v", namespace, name, err)
	}
	addresses := []string{}
	for _, slice := range found {
		for _, each := range slice.Ports {
			if *each.Name != port {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					addresses = append(addresses, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*each.Port))))
				}
			}
		}
	}
	return addresses
}

// join copies in both directions until both sides have ended.
func join(a io.ReadWriter, b *net.TCPConn) {
	defer b.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(b, a)
		b.CloseWrite()
		close(done)
	}()
	io.Copy(a, b)
	if closer, ok := a.(interface{ CloseWrite() error }); ok {
		closer.CloseWrite()
	}
	<-done
}
