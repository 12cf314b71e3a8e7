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

// A server that takes new certificates as soon as their files are there. Mostly t.SetTLS itself is what Watch is given.
func ExampleFiles_Watch() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	renew := certs.Renewer(dir) // stands for whoever writes the files: there is none in the package

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
