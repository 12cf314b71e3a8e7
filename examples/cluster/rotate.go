package main

import (
	"context"
	"log/slog"

	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

// openCerts reads the certificates of a server, and checks them.
func openCerts(c config, logger *slog.Logger) (*certs.Files, error) {
	return certs.Open(certs.Config{Cluster: c.Cluster, ID: c.ID, CA: c.CA, Cert: c.Cert, Key: c.Key, Logger: logger})
}

// rotate gives the transport the certificates anew, as soon as their files change, until ctx ends. After a signal it logs the result in any
// case.
func rotate(ctx context.Context, files *certs.Files, t *tcp.Transport) {
	hangups, stop := hangUps()
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		files.Watch(ctx, t.SetTLS)
	}()
	for {
		select {
		case <-hangups:
			files.Look()
		case <-ended:
			return
		}
	}
}
