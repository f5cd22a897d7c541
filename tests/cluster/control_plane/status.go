package main

import (
	"context"
	"encoding/json"
	"log"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	heartbeat = 10 * time.Second
	retry     = time.Second
)

func isReady(it *core.Pod) bool {
	for _, condition := range it.Status.Conditions {
		if condition.Type == core.PodReady {
			return condition.Status == core.ConditionTrue
		}
	}
	return false
}

// report writes the status of a Pod. It retries until the API server has it or no longer has the Pod.
func (k *kubelet) report(it *core.Pod, own *pod, ready bool) {
	now, status := meta.Now(), core.ConditionFalse
	if ready {
		status = core.ConditionTrue
	}
	condition := func(kind core.PodConditionType, status core.ConditionStatus) core.PodCondition {
		return core.PodCondition{Type: kind, Status: status, LastTransitionTime: now, ObservedGeneration: it.Generation}
	}
	started := true
	containers := []core.ContainerStatus{}
	for _, container := range it.Spec.Containers {
		containers = append(containers, core.ContainerStatus{
			Name: container.Name, Image: container.Image, ImageID: container.Image, ContainerID: "test-cluster://" + string(it.UID),
			Ready: ready, Started: &started, State: core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: now}}})
	}
	patch, _ := json.Marshal(map[string]any{"status": core.PodStatus{
		Phase: core.PodRunning, PodIP: own.ip, PodIPs: []core.PodIP{{IP: own.ip}}, HostIP: k.nodeIP, StartTime: &now,
		ContainerStatuses: containers, Conditions: []core.PodCondition{
			condition(core.PodScheduled, core.ConditionTrue), condition(core.PodInitialized, core.ConditionTrue),
			condition(core.ContainersReady, status), condition(core.PodReady, status)}}})
	for {
		_, err := k.client.CoreV1().Pods(it.Namespace).Patch(
			context.Background(), it.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
		if err == nil || errors.IsNotFound(err) || own.ready.Load() != ready {
			return
		}
		log.Printf("%s/%s: %v", it.Namespace, it.Name, err)
		time.Sleep(retry)
	}
}

// confirmDeletion removes a Pod whose workload has ended.
func (k *kubelet) confirmDeletion(it *core.Pod) {
	now := int64(0)
	options := meta.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &meta.Preconditions{UID: &it.UID}}
	for {
		err := k.client.CoreV1().Pods(it.Namespace).Delete(context.Background(), it.Name, options)
		if err == nil || errors.IsNotFound(err) || errors.IsConflict(err) {
			return
		}
		log.Printf("%s/%s: %v", it.Namespace, it.Name, err)
		time.Sleep(retry)
	}
}

// keepNode registers a node and renews its status and its Lease.
func (k *kubelet) keepNode(name string) {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{
		core.LabelHostname: name, core.LabelOSStable: "linux", core.LabelTopologyZone: "zone-" + name}}}
	for {
		_, err := k.client.CoreV1().Nodes().Create(context.Background(), node, meta.CreateOptions{})
		if err == nil || errors.IsAlreadyExists(err) {
			break
		}
		log.Print(err)
		time.Sleep(retry)
	}
	for ; ; time.Sleep(heartbeat) {
		if err := k.renewNode(name); err != nil {
			log.Print(err)
		}
	}
}

func (k *kubelet) renewNode(name string) error {
	ctx, now := context.Background(), meta.Now()
	capacity := core.ResourceList{
		core.ResourceCPU: resource.MustParse("64"), core.ResourceMemory: resource.MustParse("256Gi"), core.ResourcePods: resource.MustParse("5000")}
	patch, _ := json.Marshal(map[string]any{"status": core.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Addresses:       []core.NodeAddress{{Type: core.NodeInternalIP, Address: k.nodeIP}},
		DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: apiPort}},
		Conditions: []core.NodeCondition{{
			Type: core.NodeReady, Status: core.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}}}})
	if _, err := k.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, meta.PatchOptions{}, "status"); err != nil {
		return err
	}
	leases := k.client.CoordinationV1().Leases(core.NamespaceNodeLease)
	renewed, seconds := meta.NowMicro(), int32(40)
	spec := coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &renewed}
	lease, err := leases.Get(ctx, name, meta.GetOptions{})
	if errors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: name}, Spec: spec}, meta.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec = spec
	_, err = leases.Update(ctx, lease, meta.UpdateOptions{})
	return err
}
