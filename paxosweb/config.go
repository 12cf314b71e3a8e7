package paxosweb

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/singledecree/paxos"
)

// A Config describes a [Handler]. In every field the zero value means the default.
type Config struct {
	// Allow decides whether a request may look. Its error is the answer, with status 403. Default: [Loopback]. Allow must be safe
	// for concurrent use.
	Allow func(r *http.Request) error
	// Trace gets the trace of another server, for the diagram of an instance. It is called for all other servers at the same time,
	// and has 3 s. It must be safe for concurrent use. Default: the diagram shows the events of this server only.
	Trace func(ctx context.Context, id paxos.ServerID, instance string) (Trace, error)
	// Shown is the number of decisions and of open instances on the page. Default: 12. Most: 200.
	Shown int
	// Silent is the time without a packet from which a server counts as silent. An idle server sends one every Timing.Pull, so it
	// should be longer. Default: 12 s.
	Silent time.Duration
	// MaxViewers bounds the pages that are kept up to date at a time. Default: 64. A page beyond it stays as it is.
	MaxViewers int
}

const (
	defaultShown      = 12
	maxShown          = 200
	defaultSilent     = 12 * time.Second
	defaultMaxViewers = 64
	traceTime         = 3 * time.Second
	every             = 500 * time.Millisecond // between two looks of a page that is kept up to date
)

// withDefaults returns c with its defaults, or an error that names the wrong field.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Shown < 0 || c.Shown > maxShown:
		return c, fmt.Errorf("Config.Shown: %d: want 1 to %d, or 0 for %d", c.Shown, maxShown, defaultShown)
	case c.Silent < 0:
		return c, fmt.Errorf("Config.Silent: %v is negative", c.Silent)
	case c.MaxViewers < 0:
		return c, fmt.Errorf("Config.MaxViewers: %d is negative", c.MaxViewers)
	}
	if c.Allow == nil {
		c.Allow = Loopback
	}
	if c.Shown == 0 {
		c.Shown = defaultShown
	}
	if c.Silent == 0 {
		c.Silent = defaultSilent
	}
	if c.MaxViewers == 0 {
		c.MaxViewers = defaultMaxViewers
	}
	return c, nil
}

// Loopback is the default of [Config].Allow. It allows everything if the Host that is asked for is a loopback address or
// "localhost", else nothing. So no page of another site can look, whatever its name resolves to. It does not tell who looks: listen
// on a loopback address, too.
func Loopback(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
		if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
			host = host[1 : len(host)-1]
		}
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("Host: %.100q is not a loopback address", r.Host)
}
