package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
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
			return !at.Floor && at.Sweep == "" && at.Disk && (at.Gap || !fast) && (at.Change == "" || at.replaces() && !at.Alone)
		}})
	}
	return all
}

type etcdCluster struct {
	etcdWay
	setup   setup
	configs []*embed.Config
	servers growing[*embed.Etcd]
	clients growing[*clientv3.Client]
	gap     bool
	stopped atomic.Int64 // which server; -1: none
}

// etcdClients is how many connections the callers share.
const etcdClients = 4

func (w etcdWay) start(s setup) (cluster, error) {
	c := &etcdCluster{etcdWay: w, setup: s, gap: s.Gap}
	c.stopped.Store(-1)
	for i := range s.Servers {
		if err := c.configure(i); err != nil {
			return nil, err
		}
	}
	errs, servers := make([]error, s.Servers), make([]*embed.Etcd, s.Servers)
	var all sync.WaitGroup
	for i, config := range c.configs {
		all.Go(func() { // none is ready before a majority runs
			config.InitialCluster = c.peers()
			if servers[i], errs[i] = embed.StartEtcd(config); errs[i] == nil {
				<-servers[i].Server.ReadyNotify()
			}
		})
	}
	all.Wait()
	for _, server := range servers {
		c.servers.add(server)
	}
	err := errors.Join(errs...)
	if err == nil {
		err = until("leader", func() bool { return c.leader() >= 0 })
	}
	if err == nil {
		err = c.connectAll()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// configure adds the configuration of server i.
func (c *etcdCluster) configure(i int) error {
	var urls [2]url.URL
	for j := range urls {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		urls[j] = url.URL{Scheme: "http", Host: addr}
	}
	config := embed.NewConfig()
	config.Name = fmt.Sprint("n", i)
	config.Dir = filepath.Join(c.setup.dir, config.Name)
	config.LogLevel = "panic"
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	config.ListenPeerUrls, config.AdvertisePeerUrls = urls[:1], urls[:1]
	config.ListenClientUrls, config.AdvertiseClientUrls = urls[1:], urls[1:]
	config.TickMs, config.ElectionMs = c.tick, c.election
	config.QuotaBackendBytes = 8 << 30
	c.configs = append(c.configs, config)
	return nil
}

// peers are the names and addresses of all servers.
func (c *etcdCluster) peers() string {
	var all []string
	for _, config := range c.configs {
		all = append(all, config.Name+"="+config.AdvertisePeerUrls[0].String())
	}
	return strings.Join(all, ",")
}

// connectAll connects the clients to the leader, or, if it is to be stopped, each to one server, so that those of the others
// show when the cluster is back. If members change, there are as many for each server, and callers follow the leader.
func (c *etcdCluster) connectAll() error {
	if c.setup.Change != "" {
		for i := range c.configs {
			if err := c.connect(i); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range etcdClients {
		server := c.leader()
		if c.gap {
			server = i % c.setup.Servers
		}
		if err := c.connectOne(server); err != nil {
			return err
		}
	}
	return nil
}

// connect connects all clients of callers that follow the leader to a server.
func (c *etcdCluster) connect(server int) error {
	for range etcdClients {
		if err := c.connectOne(server); err != nil {
			return err
		}
	}
	return nil
}

func (c *etcdCluster) connectOne(server int) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.configs[server].ListenClientUrls[0].Host},
		DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err == nil {
		c.clients.add(client)
	}
	return err
}

func (c *etcdCluster) leader() int {
	for i, s := range c.servers.get() {
		if int64(i) != c.stopped.Load() && s.Server.Leader() == s.Server.MemberID() {
			return i
		}
	}
	return -1
}

func (c *etcdCluster) propose(ctx context.Context, caller int, name, value string) error {
	timeout := 10 * time.Second
	if c.gap || c.setup.Change != "" {
		timeout = time.Second // calls that the dead leader was given are lost; only this ends them
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	clients, client := c.clients.get(), caller%etcdClients
	if c.setup.Change != "" {
		server := c.leader()
		if server < 0 || (server+1)*etcdClients > len(clients) {
			return errNoLeader
		}
		client += server * etcdClients
	}
	_, err := clients[client].Txn(ctx).
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
	server := c.servers.get()[i]
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
