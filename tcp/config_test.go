package tcp

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// Each error of Listen begins with the field that is wrong.
func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"Config.ID: 0 is not":                              func(c *Config) { c.ID = 0 },
		"Config.ID: server 9 is not in":                    func(c *Config) { c.ID = 9 },
		"Config.Members: 0 is not":                         func(c *Config) { c.Members.Learners = []paxos.ServerID{0} },
		"Config.Members.Cluster: \"\"":                     func(c *Config) { c.Members.Cluster = "" },
		"Config.Members.Cluster: \"\\xff\"":                func(c *Config) { c.Members.Cluster = "\xff" },
		"Config.Addr: empty":                               func(c *Config) { c.Addr = "" },
		"Config.Addr: given, and":                          func(c *Config) { c.Listener = &net.TCPListener{} },
		"Config.Addr: listen tcp":                          func(c *Config) { c.Addr = "127.0.0.1:http:1" },
		"Config.TLS: nil: give it, or choose Config.Plain": func(c *Config) { c.TLS = nil },
		"Config.Plain: true, and Config.TLS":               func(c *Config) { c.Plain = true },
		"Config.TLS.RootCAs: nil":                          func(c *Config) { c.TLS.RootCAs = nil },
		"Config.TLS.Certificates: empty, and Get":          func(c *Config) { c.TLS.Certificates = nil },
		"and GetClientCertificate is nil": func(c *Config) {
			c.TLS.Certificates = nil
			c.TLS.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
		},
		"Config.Peers: server 1 is this one":     func(c *Config) { c.Peers = map[paxos.ServerID]string{1: "x:1"} },
		"Config.Peers: server 7 is not in":       func(c *Config) { c.Peers = map[paxos.ServerID]string{2: "x:1", 7: "x:1"} },
		"Config.Limits.MaxFrame: 1:":             func(c *Config) { c.Limits.MaxFrame = 1 },
		"Config.Limits.QueueBytes: 5000:":        func(c *Config) { c.Limits.QueueBytes = 5000 },
		"Config.Limits.QueuePackets: -1:":        func(c *Config) { c.Limits.QueuePackets = -1 },
		"Config.Limits.Pending: -1:":             func(c *Config) { c.Limits.Pending = -1 },
		"Config.Timing.Handshake: 1ns:":          func(c *Config) { c.Timing.Handshake = 1 },
		"Config.Timing.Write: -1ns:":             func(c *Config) { c.Timing.Write = -1 },
		"Config.Timing.Idle: 10000h0m0s:":        func(c *Config) { c.Timing.Idle = 10000 * time.Hour },
		"Config.Timing.KeepAlive: 8s: want 1ms":  func(c *Config) { c.Timing.KeepAlive = 8 * time.Second },
		"Config.Timing.MaxRedial: 1ns:":          func(c *Config) { c.Timing.MaxRedial = 1 },
		"Config.Timing.Probe: 5s: want 1ms to 4": func(c *Config) { c.Timing.Probe = 5 * time.Second },
	} {
		t.Run(want, func(t *testing.T) {
			c := secureConfig(1, 3)
			change(&c)
			tr, err := Listen(c)
			require.Error(t, err)
			assert.Nil(t, tr)
			assert.ErrorContains(t, err, "tcp: listen: Config.")
			assert.ErrorContains(t, err, want)
		})
	}
}

// badAddrs are addresses that nobody can dial, with what is said of them.
var badAddrs = map[string]string{
	"":                                "it is empty",
	"two.example":                     "missing port",
	"two.example:":                    "no port",
	":7000":                           "no host",
	"http://127.0.0.1:7000":           "too many colons",
	"//two.example:7000":              "character",
	"127.0.0.1:0":                     "not in 1 to 65535",
	"127.0.0.1:99999":                 "not in 1 to 65535",
	"127.0.0.1:-1":                    "not in 1 to 65535",
	"::1:7000":                        "too many colons",
	"127.0.0.1:7000 ":                 "neither a number nor a service",
	" 127.0.0.1:7000":                 "character",
	"127.0.0.1:7000,127.0.0.1:7001":   "too many colons",
	"unix:x":                          "neither a number nor a service",
	"[::1:7000":                       "missing ']'",
	"two\n.example:7000":              "character",
	"two.example,three.example:65535": "character",
}

// An address that can't be dialed is refused when it is given, with words: by Listen, and by SetAddr, which leaves the
// connection that stands as it is.
func TestBadAddressesAreRefused(t *testing.T) {
	a, b := pair(t, plainConfig)
	arrives(t, a, b, 1)
	for addr, says := range badAddrs {
		c := plainConfig(1, 2)
		c.Peers = map[paxos.ServerID]string{2: addr}
		_, err := Listen(c)
		require.ErrorContains(t, err, "tcp: listen: Config.Peers: server 2: address ", "%q", addr)
		assert.ErrorContains(t, err, says, "%q", addr)
		err = a.SetAddr(2, addr)
		require.ErrorContains(t, err, "tcp: set address: server 2: address ", "%q", addr)
		assert.ErrorContains(t, err, says, "%q", addr)
		assert.ErrorContains(t, err, `want "host:port"`)
	}
	arrives(t, a, b, 2)
	s := a.Stats()
	assert.Equal(t, b.Addr().String(), s.Peers[0].Addr)
	assert.Equal(t, uint64(1), s.Dials, "the connection has stayed")
	for _, addr := range []string{"two:1", "two.example:65535", "127.0.0.1:http", "[::1]:7000", "[fe80::1%eth0]:7000", "xn--bcher-kva.example:7000"} {
		assert.NoError(t, checkAddr(addr), "%q", addr)
	}
}

func TestZeroConfig(t *testing.T) {
	_, err := Listen(Config{})
	assert.EqualError(t, err, "tcp: listen: Config.ID: 0 is not a valid ServerID")
	assert.Equal(t, Limits{MaxFrame: 4<<20 + 64<<10, QueueBytes: 16 << 20, QueuePackets: 16384, Pending: 256}, Limits{}.withDefaults())
	assert.Equal(t, Timing{Handshake: 5 * time.Second, Write: 10 * time.Second, KeepAlive: 5 * time.Second, Idle: 15 * time.Second,
		MaxRedial: time.Second, Probe: time.Second}, Timing{}.withDefaults())
	// A default gives way to what it has to fit.
	assert.NoError(t, Limits{MaxFrame: 65 << 20}.withDefaults().check())
	assert.NoError(t, Timing{Idle: 3 * time.Millisecond, Handshake: 2 * time.Millisecond}.withDefaults().check())
}

// Plain TCP is a choice, and a warning unless nobody else can reach it.
func TestPlainWarns(t *testing.T) {
	for addr, warns := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, ":0": true, "0.0.0.0:0": true} {
		book := &logBook{}
		c := plainConfig(1, 1)
		c.Addr, c.Logger = addr, book.logger()
		tr, err := Listen(c)
		if err != nil && addr == "[::1]:0" {
			continue // no IPv6 here
		}
		require.NoError(t, err)
		tr.Close()
		if warns {
			assert.Contains(t, book.String(), "level=WARN", addr)
			assert.Contains(t, book.String(), "plain TCP", addr)
		} else {
			assert.Empty(t, book.String(), addr)
		}
	}
}
