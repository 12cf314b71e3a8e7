package grpc_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"time"

	rpc "google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/grpc"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp/certs"
)

// Three servers, each on a grpc.Server with mutual TLS, which may have other services. A real server has its storage on disk, and its certificates
// in files: see package tcp/certs.
func Example() {
	authority, err := certs.NewAuthority("lunch", time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	var transports []*grpc.Transport
	var nodes []*node.Node
	addresses := map[paxos.ServerID]string{}
	for _, id := range members.Acceptors {
		config, err := authority.TLS(id)
		if err != nil {
			log.Fatal(err)
		}
		transport, err := grpc.New(grpc.Config{ID: id, Members: members, TLS: config})
		if err != nil {
			log.Fatal(err)
		}
		server := rpc.NewServer(rpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: config.Certificates, ClientCAs: config.RootCAs, ClientAuth: tls.VerifyClientCertIfGiven})))
		transport.Register(server)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		go server.Serve(listener)
		defer server.GracefulStop() // last
		defer transport.Close()     // then
		addresses[id] = listener.Addr().String()

		storage := memory.NewStorage()
		if err := paxos.Format(storage, id, members); err != nil {
			log.Fatal(err)
		}
		n, err := node.Start(context.Background(), node.Config{ID: id, Members: members, Storage: storage, Transport: transport})
		if err != nil {
			log.Fatal(err)
		}
		defer n.Close() // first
		transports, nodes = append(transports, transport), append(nodes, n)
	}
	for _, t := range transports { // a program that knows the addresses before gives them in Config.Peers
		for id, address := range addresses {
			t.Reach(id, address)
		}
	}

	d, err := nodes[0].Propose(context.Background(), "lunch", "burger")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Value)
	d, err = nodes[2].Wait(context.Background(), "lunch")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Value)
	// Output:
	// burger
	// burger
}
