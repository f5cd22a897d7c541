package main

import (
	"flag"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// A list of 3,000 Services with their EndpointSlices, changed many times, fits.
const quotaBytes = 4 << 30

// runEtcd serves one member in plain text on loopback addresses. It does not wait for the disk: the data live no
// longer than the tests. The gateway accepts compaction over HTTP.
func runEtcd(arguments []string) error {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	data := flags.String("data-dir", "etcd", "directory of the data")
	client := flags.String("client-url", "http://127.0.0.1:23790", "URL for clients")
	peer := flags.String("peer-url", "http://127.0.0.1:23800", "URL for peers")
	flags.Parse(arguments)
	clients, err := url.Parse(*client)
	if err != nil {
		return err
	}
	peers, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir = *data
	config.LogLevel = "warn"
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration // else every request is logged
	config.UnsafeNoFsync = true
	config.QuotaBackendBytes = quotaBytes
	config.EnableGRPCGateway = true
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.ExperimentalWatchProgressNotifyInterval = 5 * time.Second
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer etcd.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		return nil
	case err = <-etcd.Err():
		return err
	}
}
