package main

import (
	"net/http"
	"time"

	"github.com/singledecree/paxos/paxoshttp"
)

// longest is the longest time that a call of the API may take: a client gives up before.
const longest = time.Hour

// handler is the API of a server, for clients on its machine: the calls of package paxoshttp below /v1, and probes at the root. Any program
// on the machine may call it. A page in a browser can't, because each call wants a loopback Host, and each POST a content type.
func (s *server) handler() (http.Handler, error) {
	h, err := paxoshttp.NewHandler(s.node, paxoshttp.Config{MaxTimeout: longest, Host: paxoshttp.Host{
		Listen:       func() string { return s.transport.Addr().String() },
		Links:        s.links,
		Stored:       func() (int, int64) { stored := s.log.Stats(); return stored.Decided, stored.Bytes },
		Left:         s.formerMembers,
		CheckAddress: checkAddr,
	}})
	if err != nil {
		return nil, err
	}
	page, err := s.page()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", http.StripPrefix("/v1", h))
	mux.Handle(pagePath, page)
	for _, probe := range []string{"/healthz", "/livez", "/readyz"} {
		mux.Handle(probe, h)
	}
	return mux, nil
}

// links is how this server is connected to others.
func (s *server) links() (all []paxoshttp.Link) {
	for _, p := range s.transport.Stats().Peers {
		all = append(all, paxoshttp.Link{ID: p.ID, Addr: p.Addr, Out: p.Out, In: p.In, Err: p.Err})
	}
	return all
}
