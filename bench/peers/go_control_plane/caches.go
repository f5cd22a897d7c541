package main

import (
	"context"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

const (
	fleet      = "fleet"
	inSnapshot = "snapshot"
)

// makeOrder is the order in which new resources are put in place; old ones go in reverse.
var makeOrder = []resource.Type{resource.EndpointType, resource.ClusterType, resource.VirtualHostType}

// oneForAll gives every node the same key, so that the fleet shares one snapshot.
type oneForAll struct{}

func (oneForAll) ID(*core.Node) string { return fleet }

// caches holds what is served: some types in a linear cache each, the rest in a snapshot cache. It is used
// from one goroutine.
type caches struct {
	snapshots cache.SnapshotCache
	linear    map[resource.Type]*cache.LinearCache
	current   map[resource.Type]map[string]types.Resource
	version   int
}

func newCaches(linearTypes ...resource.Type) *caches {
	linear := map[resource.Type]*cache.LinearCache{}
	for _, typeURL := range linearTypes {
		linear[typeURL] = cache.NewLinearCache(typeURL)
	}
	return &caches{
		snapshots: cache.NewSnapshotCache(true, oneForAll{}, nil),
		linear:    linear,
		current:   map[resource.Type]map[string]types.Resource{},
	}
}

// joined is one cache of all.
func (c *caches) joined() cache.Cache {
	joined := map[string]cache.Cache{inSnapshot: c.snapshots}
	for typeURL, linear := range c.linear {
		joined[typeURL] = linear
	}
	classify := func(typeURL string) string {
		if _, found := c.linear[typeURL]; found {
			return typeURL
		}
		return inSnapshot
	}
	return &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return classify(request.GetTypeUrl()) },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return classify(request.GetTypeUrl()) },
		Caches:        joined,
	}
}

// commit puts changes in place: new assignments before the clusters that need them, old ones after them. A
// cache in which nothing changes is left alone.
func (c *caches) commit(ctx context.Context, changes []change) error {
	upserts, removals := map[resource.Type]map[string]types.Resource{}, map[resource.Type][]string{}
	rest := false
	for _, each := range changes {
		switch {
		case c.linear[each.typeURL] == nil:
			c.keep(each)
			rest = true
		case each.resource == nil:
			removals[each.typeURL] = append(removals[each.typeURL], each.name)
		default:
			put(upserts, each)
		}
	}
	for _, typeURL := range makeOrder {
		if len(upserts[typeURL]) > 0 {
			if err := c.linear[typeURL].UpdateResources(upserts[typeURL], nil); err != nil {
				return err
			}
		}
	}
	if rest {
		if err := c.publish(ctx); err != nil {
			return err
		}
	}
	for last := len(makeOrder) - 1; last >= 0; last-- {
		typeURL := makeOrder[last]
		if len(removals[typeURL]) > 0 {
			if err := c.linear[typeURL].UpdateResources(nil, removals[typeURL]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *caches) keep(each change) {
	if each.resource == nil {
		delete(c.current[each.typeURL], each.name)
		return
	}
	put(c.current, each)
}

func put(all map[resource.Type]map[string]types.Resource, each change) {
	if all[each.typeURL] == nil {
		all[each.typeURL] = map[string]types.Resource{}
	}
	all[each.typeURL][each.name] = each.resource
}

func (c *caches) publish(ctx context.Context) error {
	resources := map[resource.Type][]types.Resource{}
	for typeURL, byName := range c.current {
		list := make([]types.Resource, 0, len(byName))
		for _, each := range byName {
			list = append(list, each)
		}
		resources[typeURL] = list
	}
	c.version++
	snapshot, err := cache.NewSnapshot(strconv.Itoa(c.version), resources)
	if err != nil {
		return err
	}
	return c.snapshots.SetSnapshot(ctx, fleet, snapshot)
}
