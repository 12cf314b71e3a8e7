package alpn_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/alpn"
	"github.com/singledecree/paxos/tcp/certs"
)

// Two servers talk on the ports of two HTTPS servers. A service has an http.Server in place of httptest, and its ServeTLS.
func ExampleSplit() {
	authority, err := certs.NewAuthority("prod", time.Hour) // real servers load certificates from files: see package certs
	if err != nil {
		panic(err)
	}
	members := paxos.Members{Cluster: "prod", Acceptors: []paxos.ServerID{1, 2}}
	var servers []*tcp.Transport
	var sites []*httptest.Server
	for _, id := range members.Acceptors {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		port, err := alpn.Split(l, alpn.Config{})
		if err != nil {
			panic(err)
		}
		config, err := authority.TLS(id)
		if err != nil {
			panic(err)
		}
		t, err := tcp.Listen(tcp.Config{ID: id, Members: members, Listener: port.Cluster(), TLS: config})
		if err != nil {
			panic(err)
		}
		defer t.Close()
		site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "the site of server ", id, ", over ", r.Proto)
		}))
		site.Listener.Close()
		site.Listener, site.EnableHTTP2 = port.Host(), true
		site.StartTLS()
		defer site.Close()
		servers, sites = append(servers, t), append(sites, site)
	}
	servers[0].SetAddr(2, servers[1].Addr().String())

	servers[0].Send(paxos.Packet{To: 2, Seq: 7})
	packet, err := servers[1].Receive(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println("from server", packet.From, "packet", packet.Seq)
	answer, err := sites[1].Client().Get(sites[1].URL)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	// Output:
	// from server 1 packet 7
	// the site of server 2, over HTTP/2.0
}
