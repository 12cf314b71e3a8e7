package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// An etcdWay is embedded etcd servers. Callers create a key unless it is there, over gRPC.
type etcdWay struct {
	name           string
	tick, election uint // milliseconds
}

func etcdContestants() (all []contestant) {
	for _, w := range []etcdWay{{"etcd", 100, 1000}, {"etcd, 100 ms elections", 10, 100}} {
		fast := w.election < 1000
		all = append(all, contestant{name: w.name, start: w.start, at: func(at work) bool {
			return !at.Floor && at.Sweep == "" && at.Disk && (at.Gap || !fast)
		}})
	}
	return all
}

type etcdCluster struct {
	servers []*embed.Etcd
	clients []*clientv3.Client
	gap     bool
	stopped atomic.Int64 // which server; -1: none
}

// etcdClients is how many connections the callers share.
const etcdClients = 4

func (w etcdWay) start(s setup) (cluster, error) {
	c := &etcdCluster{servers: make([]*embed.Etcd, s.Servers), gap: s.Gap}
	c.stopped.Store(-1)
	configs, err := w.configs(s)
	if err != nil {
		return nil, err
	}
	errs := make(chan error, len(configs))
	for i, config := range configs {
		go func() { // none is ready before a majority runs
			server, err := embed.StartEtcd(config)
			if err == nil {
				c.servers[i] = server
				<-server.Server.ReadyNotify()
			}
			errs <- err
		}()
	}
	for range configs {
		err = errors.Join(err, <-errs)
	}
	if err == nil {
		err = until("leader", func() bool { return c.leader() >= 0 })
	}
	if err == nil {
		err = c.connect(configs)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (w etcdWay) configs(s setup) (all []*embed.Config, err error) {
	var cluster []string
	for i := range s.Servers {
		var urls [2]url.URL
		for j := range urls {
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			urls[j] = url.URL{Scheme: "http", Host: addr}
		}
		config := embed.NewConfig()
		config.Name = fmt.Sprint("n", i)
		config.Dir = filepath.Join(s.dir, config.Name)
		config.LogLevel = "panic"
		config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		config.ListenPeerUrls, config.AdvertisePeerUrls = urls[:1], urls[:1]
		config.ListenClientUrls, config.AdvertiseClientUrls = urls[1:], urls[1:]
		config.TickMs, config.ElectionMs = w.tick, w.election
		config.QuotaBackendBytes = 8 << 30
		cluster = append(cluster, config.Name+"="+urls[0].String())
		all = append(all, config)
	}
	for _, config := range all {
		config.InitialCluster = strings.Join(cluster, ",")
	}
	return all, nil
}

// connect connects the clients to the leader, or, if it is to be stopped, each to one server, so that those of the others
// show when the cluster is back.
func (c *etcdCluster) connect(configs []*embed.Config) error {
	for i := range etcdClients {
		server := c.leader()
		if c.gap {
			server = i % len(c.servers)
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{configs[server].ListenClientUrls[0].Host},
			DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		c.clients = append(c.clients, client)
	}
	return nil
}

func (c *etcdCluster) leader() int {
	for i, s := range c.servers {
		if int64(i) != c.stopped.Load() && s.Server.Leader() == s.Server.MemberID() {
			return i
		}
	}
	return -1
}

func (c *etcdCluster) propose(ctx context.Context, caller int, name, value string) error {
	timeout := 10 * time.Second
	if c.gap {
		timeout = time.Second // calls that the dead leader was given are lost; only this ends them
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := c.clients[caller%len(c.clients)].Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(name), "=", 0)).
		Then(clientv3.OpPut(name, value)).
		Commit()
	return err
}

// stopOne stops the leader: first what the others hear of it, so that it can't hand over.
func (c *etcdCluster) stopOne() {
	i := c.leader()
	if i < 0 {
		return
	}
	c.stopped.Store(int64(i))
	server := c.servers[i]
	go func() {
		for _, p := range server.Peers {
			p.Close()
		}
		server.Server.HardStop()
		server.Close()
	}()
}

// counts takes the syncs of the logs from what etcd tells Prometheus: all servers are in this process.
func (c *etcdCluster) counts() counts {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return unknownCounts
	}
	total := unknownCounts
	for _, f := range families {
		if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
			total.syncs = 0
			for _, m := range f.GetMetric() {
				total.syncs += int64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}
