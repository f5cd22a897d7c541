package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/encoding/protodelim"
)

// change is what becomes of one resource; a nil resource is taken away.
type change struct {
	typeURL  string
	name     string
	resource types.Resource
}

// readChanges reads a file of length-delimited discovery.v3.Resource messages. One without a value is a
// resource to take away.
func readChanges(path string) ([]change, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	var found []change
	for {
		var record discovery.Resource
		err := protodelim.UnmarshalFrom(reader, &record)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		next := change{typeURL: record.GetResource().GetTypeUrl(), name: record.GetName()}
		if len(record.GetResource().GetValue()) > 0 {
			next.resource, err = record.GetResource().UnmarshalNew()
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, record.GetName(), err)
			}
		}
		found = append(found, next)
	}
}
