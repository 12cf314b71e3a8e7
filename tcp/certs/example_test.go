package certs_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

// The person that runs a cluster makes an authority, and certificates for its servers. Each server gets ca.crt and its own two files.
func ExampleAuthority() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	authority, err := certs.NewAuthority("prod", 0)
	if err != nil {
		panic(err)
	}
	if err := authority.Create(dir); err != nil { // later: certs.ReadAuthority(dir, "prod")
		panic(err)
	}
	for id := range paxos.ServerID(3) {
		c, err := authority.Issue(id+1, 90*24*time.Hour)
		if err != nil {
			panic(err)
		}
		if err := c.Create(dir); err != nil { // to renew it: c.Replace(dir)
			panic(err)
		}
	}

	files, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		fmt.Println(f.Name())
	}
	// Output:
	// 1.crt
	// 1.key
	// 2.crt
	// 2.key
	// 3.crt
	// 3.key
	// ca.crt
	// ca.key
}

// Servers of a test talk over mutual TLS, and no file is written.
func ExampleAuthority_TLS() {
	authority, err := certs.NewAuthority("test", time.Hour)
	if err != nil {
		panic(err)
	}
	members := paxos.Members{Cluster: "test", Acceptors: []paxos.ServerID{1, 2}}
	var servers []*tcp.Transport
	for _, id := range members.Acceptors {
		config, err := authority.TLS(id)
		if err != nil {
			panic(err)
		}
		t, err := tcp.Listen(tcp.Config{ID: id, Members: members, Addr: "127.0.0.1:0", TLS: config})
		if err != nil {
			panic(err)
		}
		defer t.Close()
		servers = append(servers, t)
	}
	servers[0].SetAddr(2, servers[1].Addr().String())

	servers[0].Send(paxos.Packet{To: 2, Seq: 7})
	packet, err := servers[1].Receive(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println("from server", packet.From, "packet", packet.Seq)
	// Output: from server 1 packet 7
}

// A server that takes new certificates as soon as their files are there. Mostly t.SetTLS itself is what Watch is given.
func ExampleFiles_Watch() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	authority, err := certs.NewAuthority("prod", 0)
	if err != nil {
		panic(err)
	}
	if err := authority.Create(dir); err != nil {
		panic(err)
	}
	renew := func() {
		c, err := authority.Issue(1, 0)
		if err != nil {
			panic(err)
		}
		if err := c.Replace(dir); err != nil {
			panic(err)
		}
	}
	renew()

	files, err := certs.Open(certs.Config{Cluster: "prod", ID: 1, CA: filepath.Join(dir, "ca.crt"),
		Cert: filepath.Join(dir, "1.crt"), Key: filepath.Join(dir, "1.key"), Every: time.Millisecond})
	if err != nil {
		panic(err)
	}
	members := paxos.Members{Cluster: "prod", Acceptors: []paxos.ServerID{1, 2, 3}}
	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: "127.0.0.1:0", TLS: files.TLS()})
	if err != nil {
		panic(err)
	}
	defer t.Close()
	ctx, cancel := context.WithCancel(context.Background())
	taken, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		files.Watch(ctx, func(c *tls.Config) error {
			defer close(taken)
			return t.SetTLS(c)
		})
	}()

	renew()
	<-taken
	fmt.Println("the new certificate is in use")
	cancel()
	<-ended
	// Output: the new certificate is in use
}

// Open checks the files as the other servers would. Here server 2 has the certificate of server 1.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	authority, err := certs.NewAuthority("prod", 0)
	if err != nil {
		panic(err)
	}
	if err := authority.Create(dir); err != nil {
		panic(err)
	}
	c, err := authority.Issue(1, 90*24*time.Hour)
	if err != nil {
		panic(err)
	}
	if err := c.Create(dir); err != nil {
		panic(err)
	}
	for id := range paxos.ServerID(2) {
		files, err := certs.Open(certs.Config{Cluster: "prod", ID: id + 1, CA: filepath.Join(dir, "ca.crt"),
			Cert: filepath.Join(dir, "1.crt"), Key: filepath.Join(dir, "1.key")})
		fmt.Println("server", id+1, files != nil, err == nil)
	}
	// Output:
	// server 1 true true
	// server 2 false false
}
