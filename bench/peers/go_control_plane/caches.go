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
	inLinear   = "assignments"
	inSnapshot = "snapshot"
)

// oneForAll gives every node the same key, so that the fleet shares one snapshot.
type oneForAll struct{}

func (oneForAll) ID(*core.Node) string { return fleet }

// caches holds what is served. It is used from one goroutine.
type caches struct {
	snapshots   cache.SnapshotCache
	assignments *cache.LinearCache
	current     map[resource.Type]map[string]types.Resource
	version     int
}

func newCaches() *caches {
	return &caches{
		snapshots:   cache.NewSnapshotCache(true, oneForAll{}, nil),
		assignments: cache.NewLinearCache(resource.EndpointType),
		current:     map[resource.Type]map[string]types.Resource{},
	}
}

// joined is one cache of both.
func (c *caches) joined() cache.Cache {
	classify := func(typeURL string) string {
		if typeURL == resource.EndpointType {
			return inLinear
		}
		return inSnapshot
	}
	return &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return classify(request.GetTypeUrl()) },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return classify(request.GetTypeUrl()) },
		Caches:        map[string]cache.Cache{inLinear: c.assignments, inSnapshot: c.snapshots},
	}
}

// commit puts changes in place: new assignments before the snapshot whose clusters need them, old ones
// after it. A cache that nothing changes in is left alone.
func (c *caches) commit(ctx context.Context, changes []change) error {
	upserts, removals, rest := map[string]types.Resource{}, []string{}, false
	for _, each := range changes {
		switch {
		case each.typeURL != resource.EndpointType:
			c.keep(each)
			rest = true
		case each.resource == nil:
			removals = append(removals, each.name)
		default:
			upserts[each.name] = each.resource
		}
	}
	if len(upserts) > 0 {
		if err := c.assignments.UpdateResources(upserts, nil); err != nil {
			return err
		}
	}
	if rest {
		if err := c.publish(ctx); err != nil {
			return err
		}
	}
	if len(removals) > 0 {
		return c.assignments.UpdateResources(nil, removals)
	}
	return nil
}

func (c *caches) keep(each change) {
	byName := c.current[each.typeURL]
	if byName == nil {
		byName = map[string]types.Resource{}
		c.current[each.typeURL] = byName
	}
	if each.resource == nil {
		delete(byName, each.name)
		return
	}
	byName[each.name] = each.resource
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
