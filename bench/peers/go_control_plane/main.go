// An ADS server on go-control-plane, for comparison: a snapshot cache for clusters and virtual hosts, a
// linear cache for assignments, joined by a mux cache, which is what its README suggests for a fleet
// that shares its endpoints. With --linear every type has a linear cache.
//
// The argument is a file of resources to begin with. One line of JSON says where it listens; then each line of
// standard input is answered with one. "prepare FILE" reads resources, "commit" puts in place what was prepared
// first, "nothing" does nothing, to see what a command costs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	maxMessageBytes      = 64 * 1024 * 1024
	maxConcurrentStreams = 1_000_000
)

func main() {
	linear := flag.Bool("linear", false, "a linear cache for every type")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: go-control-plane [--linear] RESOURCES")
	}
	linearTypes := []resource.Type{resource.EndpointType}
	if *linear {
		linearTypes = makeOrder
	}
	if err := run(flag.Arg(0), newCaches(linearTypes...)); err != nil {
		log.Fatal(err)
	}
}

func run(initial string, caches *caches) error {
	ctx := context.Background()
	found, err := readChanges(initial)
	if err != nil {
		return err
	}
	if err := caches.commit(ctx, found); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true,
		}),
	)
	// Ordered: one channel for all types of a stream, written in the order in which they were asked for.
	xds := server.NewServer(ctx, caches.joined(), nil, sotw.WithOrderedADS())
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, xds)
	go func() { log.Fatal(grpcServer.Serve(listener)) }()
	say(map[string]any{"serving": listener.Addr().String()})
	return obey(ctx, caches)
}

// obey takes commands until standard input ends.
func obey(ctx context.Context, caches *caches) error {
	commands := bufio.NewScanner(os.Stdin)
	var prepared [][]change
	for commands.Scan() {
		command, path, _ := strings.Cut(commands.Text(), " ")
		switch {
		case command == "prepare":
			found, err := readChanges(path)
			if err != nil {
				return err
			}
			prepared = append(prepared, found)
			say(map[string]any{"prepared": path})
		case command == "commit" && len(prepared) > 0:
			at, err := monotonic()
			if err != nil {
				return err
			}
			if err := caches.commit(ctx, prepared[0]); err != nil {
				return err
			}
			prepared = prepared[1:]
			say(map[string]any{"committed": at})
		case command == "nothing":
			say(map[string]any{"did": command})
		default:
			return fmt.Errorf("unknown command: %q", commands.Text())
		}
	}
	return commands.Err()
}

// monotonic is the machine's clock, in seconds, which other processes see alike; Go's own is private.
func monotonic() (float64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	return float64(now.Sec) + float64(now.Nsec)/1e9, nil
}

func say(fact map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(fact); err != nil {
		log.Fatal(err)
	}
}
