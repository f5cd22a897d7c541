package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const nodePrefix = "node-"

// workload is what runs for one Pod.
type workload interface {
	// start returns once the workload accepts connections or can never do so.
	start(ctx context.Context) error
	// ready says whether the Pod passes its readiness probe.
	ready(ctx context.Context) bool
	// stop ends the workload within the grace period.
	stop(grace time.Duration)
}

// pod is one Pod from its start to its end.
type pod struct {
	cancel context.CancelFunc
	ip     string
	work   workload
	ending bool
	ready  atomic.Bool // as last reported
}

// kubelet stands in for the kubelets of all nodes. A Pod has an address of its own. A Pod of an image in `programs`
// is a process; any other is an HTTP server on each container port.
type kubelet struct {
	client   kubernetes.Interface
	programs map[string]string // image without its tag -> path
	logs     string
	nodeIP   string
	requests requests
	mu       sync.Mutex
	next     netip.Addr
	pods     map[types.UID]*pod
}

func runKubelet(arguments []string) error {
	flags := flag.NewFlagSet("kubelet", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "admin.kubeconfig", "credentials")
	nodes := flags.Int("nodes", 2, "number of nodes")
	nodeIP := flags.String("node-ip", "10.77.0.1", "address of the nodes")
	podIP := flags.String("pod-ip", "10.77.16.1", "address of the first Pod; the following ones must be local too")
	logs := flags.String("logs", ".", "directory of the Pods' logs")
	run := flags.String("run", "", "IMAGE=PATH,...: images that run as processes, and their programs")
	proxied := flags.String("proxy", "default/kubernetes", "NAMESPACE/NAME,...: Services that are reachable by cluster IP")
	flags.Parse(arguments)
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client := kubernetes.NewForConfigOrDie(config)
	k := &kubelet{client: client, programs: map[string]string{}, logs: *logs, nodeIP: *nodeIP,
		next: netip.MustParseAddr(*podIP), pods: map[types.UID]*pod{}}
	for _, each := range strings.Split(*run, ",") {
		if image, program, found := strings.Cut(each, "="); found {
			k.programs[image] = program
		}
	}
	for i := range *nodes {
		go k.keepNode(fmt.Sprintf("%s%d", nodePrefix, i+1))
	}
	go k.serveAPI()
	factory := informers.NewSharedInformerFactory(client, 0)
	startServiceProxy(factory, strings.Split(*proxied, ","))
	k.watchPods(factory)
	factory.Start(context.Background().Done())
	select {}
}

func (k *kubelet) watchPods(factory informers.SharedInformerFactory) {
	factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(it any) { k.see(it.(*core.Pod)) },
		UpdateFunc: func(_, it any) { k.see(it.(*core.Pod)) },
		DeleteFunc: func(it any) {
			if last, ok := it.(cache.DeletedFinalStateUnknown); ok {
				it = last.Obj
			}
			k.forget(it.(*core.Pod))
		},
	})
}

// see starts a Pod that is new on a node, and stops one that is deleted.
func (k *kubelet) see(it *core.Pod) {
	if !strings.HasPrefix(it.Spec.NodeName, nodePrefix) || it.Status.Phase == core.PodSucceeded || it.Status.Phase == core.PodFailed {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.pods[it.UID]
	if own == nil {
		if it.DeletionTimestamp != nil {
			go k.confirmDeletion(it)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		own = &pod{cancel: cancel, ip: k.next.String()}
		k.next = k.next.Next()
		own.work = k.workloadOf(it, own.ip)
		k.pods[it.UID] = own
		go k.run(ctx, it, own)
	}
	if it.DeletionTimestamp != nil && !own.ending {
		own.ending = true
		go k.end(it, own)
		return
	}
	// The node lifecycle controller takes Ready away while it hears nothing of the nodes.
	if own.ready.Load() && !own.ending && !isReady(it) {
		go k.report(it, own, true)
	}
}

func (k *kubelet) workloadOf(it *core.Pod, ip string) workload {
	image, _, _ := strings.Cut(it.Spec.Containers[0].Image, ":")
	if program, found := k.programs[image]; found {
		return &process{kubelet: k, pod: it, ip: ip, program: program}
	}
	return &backend{pod: it, ip: ip, counts: k.requests.of(it)}
}

// run reports the Pod's readiness until it ends.
func (k *kubelet) run(ctx context.Context, it *core.Pod, own *pod) {
	log.Printf("%s/%s: starts at %s", it.Namespace, it.Name, own.ip)
	k.report(it, own, false)
	if err := own.work.start(ctx); err != nil {
		log.Printf("%s/%s: %v", it.Namespace, it.Name, err)
		return
	}
	for ctx.Err() == nil {
		if ready := own.work.ready(ctx); ready != own.ready.Load() && ctx.Err() == nil {
			own.ready.Store(ready)
			k.report(it, own, ready)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// end does what a kubelet does with a deleted Pod: preStop, SIGTERM, confirmation.
func (k *kubelet) end(it *core.Pod, own *pod) {
	grace := 30 * time.Second
	if it.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*it.DeletionGracePeriodSeconds) * time.Second
	}
	var delay time.Duration
	if hooks := it.Spec.Containers[0].Lifecycle; hooks != nil && hooks.PreStop != nil && hooks.PreStop.Sleep != nil {
		delay = min(grace, time.Duration(hooks.PreStop.Sleep.Seconds)*time.Second)
	}
	log.Printf("%s/%s: ends in %s", it.Namespace, it.Name, delay)
	time.Sleep(delay)
	own.cancel()
	own.work.stop(max(grace-delay, 2*time.Second))
	k.confirmDeletion(it)
}

// forget ends what still runs for a Pod that the API server has removed.
func (k *kubelet) forget(it *core.Pod) {
	k.mu.Lock()
	own := k.pods[it.UID]
	delete(k.pods, it.UID)
	k.mu.Unlock()
	if own != nil {
		own.cancel()
		go own.work.stop(0)
	}
}
