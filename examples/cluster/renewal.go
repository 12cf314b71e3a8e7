package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/progress"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

// A renewal is a server that is to use a new certificate.
type renewal struct {
	id   paxos.ServerID
	addr string
	der  []byte // the new certificate
	now  string // how it stands, in words
}

// How often a server is asked for its certificate, and how long it may take to answer. Each time the server logs that the connection
// did not become one of a server.
const (
	askCert  = time.Second
	showCert = 5 * time.Second
)

// awaitCerts waits until the servers at these addresses use their new certificates. A person that watches sees how each one stands.
func awaitCerts(ctx context.Context, out io.Writer, timeout time.Duration, all []*certs.Certificate, addrs map[paxos.ServerID]string) error {
	var left []*renewal
	for _, c := range all {
		block, _ := pem.Decode(c.Cert)
		if addr := addrs[c.ID]; addr != "" {
			left = append(left, &renewal{c.ID, addr, block.Bytes, "not asked yet"})
		}
	}
	line := lineOn(out)
	total := int64(len(left))
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		var waiting []*renewal
		for _, r := range left {
			if r.look(ctx); r.now != "" {
				waiting = append(waiting, r)
				continue
			}
			line.End()
			fmt.Fprintf(out, "server %d at %s uses its new certificate\n", r.id, r.addr)
		}
		if left = waiting; len(left) == 0 {
			return nil
		}
		var words []string
		for _, r := range left {
			words = append(words, fmt.Sprintf("server %d at %s: %s", r.id, r.addr, r.now))
		}
		line.Show("waiting for "+strings.Join(words, "; "), total-int64(len(left)), total)
		select {
		case <-ctx.Done():
			line.End()
			return fmt.Errorf("certs: the files are written, but not every server uses its own: copy them there: %s", strings.Join(words, "; "))
		case <-time.After(askCert):
		}
	}
}

// look asks the server which certificate it shows. now is empty if it is the new one.
func (r *renewal) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, showCert)
	defer cancel()
	// Nothing is verified: only the very certificate that was just made is the right one.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{tcp.ALPN}}}
	conn, err := dialer.DialContext(ctx, "tcp", r.addr)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && r.now != "":
		return
	case err != nil:
		r.now = err.Error()
		return
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if r.now = ""; !bytes.Equal(shown.Raw, r.der) {
		r.now = "it shows another one, until " + shown.NotAfter.Format(time.DateTime)
	}
}

// lineOn returns the line that tells a person how far work is; nil: nobody watches.
func lineOn(out io.Writer) *progress.Line {
	if f, ok := out.(*os.File); ok {
		return progress.To(f)
	}
	return nil
}
