// A Kubernetes control plane in one program, for tests on a machine without containers.
//
//	test-cluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet [flags]
//
// The first four are the released components. The last is a stand-in for the kubelets of a few nodes, which runs
// one HTTP server for each Pod.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	released := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	}
	own := map[string]func([]string) error{"etcd": runEtcd, "kubelet": runKubelet}
	if len(os.Args) > 1 {
		name, arguments := os.Args[1], os.Args[2:]
		if run, found := own[name]; found {
			if err := run(arguments); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
		if command, found := released[name]; found {
			os.Args = append([]string{name}, arguments...)
			os.Exit(cli.Run(command()))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: test-cluster etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet [flags]")
	os.Exit(2)
}
