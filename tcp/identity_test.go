package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

func uri(text string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		u, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		c.URIs = []*url.URL{u}
	}
}

func dns(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, names }
}

func usage(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func expired(c *x509.Certificate)     { c.NotAfter = time.Now().Add(-time.Minute) }
func notYetValid(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }

func selfSigned(cluster string, id paxos.ServerID) tls.Certificate {
	own := newAuthority()
	c := own.issue(cluster, id)
	own.cert.Subject.CommonName = "server"
	return c
}

// A visitor is a client that dials server 1 of cluster "prod", whose other members are 2 and 3, says hello, and sends a packet even if it
// was not let in: as server 2, if hello and packet change nothing.
type visitor struct {
	cert   *tls.Certificate
	hello  func(*hello)
	packet func(*paxos.Packet)
	change func(*tls.Config)
	plain  bool
	want   Reason // empty: it is let in
	says   string
}

// visitorsByCertificate differ in their certificate and its authority. Three of them are let in.
func visitorsByCertificate(a, other *authority) map[string]visitor {
	good := a.issue("prod", 2)
	return map[string]visitor{
		"right":                         {cert: &good},
		"right, by DNS name":            {cert: with(a.issue("prod", 2, dns("2.prod.paxos")))},
		"right, among other names":      {cert: with(a.issue("prod", 2, dns("two.example", "2.prod.paxos"), uri("https://example/")))},
		"no certificate":                {want: ReasonTLS, says: "didn't provide a certificate"},
		"wrong authority":               {cert: with(other.issue("prod", 2)), want: ReasonTLS, says: "unknown authority"},
		"signed by itself":              {cert: with(selfSigned("prod", 2)), want: ReasonTLS, says: "unknown authority"},
		"expired":                       {cert: with(a.issue("prod", 2, expired)), want: ReasonTLS, says: "expired"},
		"not yet valid":                 {cert: with(a.issue("prod", 2, notYetValid)), want: ReasonTLS, says: "not yet valid"},
		"for servers only":              {cert: with(a.issue("prod", 2, usage(x509.ExtKeyUsageServerAuth))), want: ReasonTLS, says: "incompatible key usage"},
		"of another server":             {cert: with(a.issue("prod", 3)), want: ReasonIdentity, says: `the certificate names "paxos:prod/3", and server 2 of cluster "prod"`},
		"of another cluster":            {cert: with(a.issue("test", 2)), want: ReasonIdentity, says: `the certificate names "paxos:test/2"`},
		"of nobody":                     {cert: with(a.issue("prod", 2, dns())), want: ReasonIdentity, says: "names no server"},
		"of any server":                 {cert: with(a.issue("prod", 2, dns("*.prod.paxos"))), want: ReasonIdentity, says: "*.prod.paxos"},
		"of a longer number":            {cert: with(a.issue("prod", 2, uri("paxos:prod/22"))), want: ReasonIdentity, says: "paxos:prod/22"},
		"of a name with another scheme": {cert: with(a.issue("prod", 2, uri("https:prod/2"))), want: ReasonIdentity, says: "https:prod/2"},
		"of a deeper name":              {cert: with(a.issue("prod", 2, uri("paxos:x/prod/2"))), want: ReasonIdentity, says: "paxos:x/prod/2"},
	}
}

// visitorsByWords have a certificate of the right authority, or none because they are plain TCP. Their TLS version, hello or packet is wrong.
func visitorsByWords(a *authority) map[string]visitor {
	good := a.issue("prod", 2)
	return map[string]visitor{
		"TLS 1.2":              {cert: &good, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, want: ReasonTLS, says: "versions"},
		"plain TCP":            {plain: true, want: ReasonTLS, says: "does not look like a TLS handshake"},
		"says another cluster": {cert: &good, hello: func(h *hello) { h.cluster = "test" }, want: ReasonCluster, says: `server 2 is of cluster "test", server 1 is of cluster "prod"`},
		"wants another server": {cert: &good, hello: func(h *hello) { h.to = 3 }, want: ReasonTo, says: "server 2 has dialed server 3, but this is server 1"},
		"a stranger": {cert: with(a.issue("prod", 9)), hello: func(h *hello) { h.from = 9 }, packet: func(p *paxos.Packet) { p.From = 9 },
			want: ReasonStranger, says: "server 9 is not one of the other members that server 1 knows: [2 3]. A new server must become a member first"},
		"this very server": {cert: with(a.issue("prod", 1)), hello: func(h *hello) { h.from = 1 }, packet: func(p *paxos.Packet) { p.From = 1 },
			want: ReasonStranger, says: "server 1 is not one of the other members"},
		"a later version":              {cert: &good, hello: func(h *hello) { h.lowest, h.highest = 2, 3 }, want: ReasonVersion, says: "server 2 speaks versions 2 to 3 of the format, server 1 speaks 1 to 1"},
		"a packet as from another":     {cert: &good, packet: func(p *paxos.Packet) { p.From = 3 }, want: ReasonSpoofed, says: "server 2 sent a packet from server 3 to server 1"},
		"a packet as for another":      {cert: &good, packet: func(p *paxos.Packet) { p.To = 3 }, want: ReasonSpoofed, says: "server 2 sent a packet from server 2 to server 3"},
		"a packet as from this server": {cert: &good, packet: func(p *paxos.Packet) { p.From = 1 }, want: ReasonSpoofed, says: "server 2 sent a packet from server 1"},
	}
}

func TestWhoIsLetIn(t *testing.T) {
	a, other := theAuthority(), newAuthority()
	all := visitorsByCertificate(a, other)
	maps.Copy(all, visitorsByWords(a))
	for name, v := range all {
		t.Run(name, v.visit)
	}
}

// visit dials a Transport of its own, and checks what becomes of the visitor there.
func (v visitor) visit(t *testing.T) {
	book := &logBook{}
	config := secureConfig(1, 3)
	config.Logger = book.logger()
	tr := start(t, config)
	conn := dialBy(t, tr, v.dialer())
	h, p := helloOf(2, 1, 7), packetOf(2, 1, 1)
	if v.hello != nil {
		v.hello(&h)
	}
	if v.packet != nil {
		v.packet(&p)
	}
	conn.send(appendHello([]byte(magic), h))
	conn.send(sealed(appendPacket(nil, &p)))
	if v.want == "" {
		assert.Equal(t, uint64(1), receiveSoon(t, tr).Seq)
		return
	}
	eventually(t, "it is refused", func() bool {
		nothing(t, tr) // while that waits, what has arrived is looked at
		return tr.Stats().Refused[v.want] == 1
	})
	if v.want == ReasonSpoofed {
		v.welcomeThenRefused(t, conn)
	}
	conn.ended()
	nothing(t, tr)
	assert.Len(t, tr.Stats().Refused, 1)
	eventually(t, "its place is free", func() bool { return !tr.Stats().Peers[0].In })
	book.says(t, v.says)
}

// dialer returns the TLS configuration of the visitor; nil: plain TCP.
func (v visitor) dialer() *tls.Config {
	if v.plain {
		return nil
	}
	c := &tls.Config{InsecureSkipVerify: true}
	if v.cert != nil {
		// Whatever authorities the listener asks for: an attacker shows what it has.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return v.cert, nil }
	}
	if v.change != nil {
		v.change(c)
	}
	return c
}

// welcomeThenRefused reads both answers to a visitor that was welcome until it sent its packet.
func (v visitor) welcomeThenRefused(t *testing.T, conn *client) {
	require.NoError(t, conn.r.magic())
	for _, k := range []kind{kindWelcome, kindRefuse} {
		f, err := conn.r.next()
		require.NoError(t, err)
		require.Equal(t, k, f.kind)
		assert.True(t, k == kindWelcome || strings.Contains(string(f.body), v.says))
	}
}

func with(c tls.Certificate) *tls.Certificate { return &c }

// Whom a dialer that means server 2 of cluster "prod" takes for it. To anybody else it says nothing, not even hello.
func TestWhoIsTakenForThePeer(t *testing.T) {
	a, other := theAuthority(), newAuthority()
	for name, c := range map[string]struct {
		cert  tls.Certificate
		plain bool
		says  string // empty: it is taken
	}{
		"right":              {cert: a.issue("prod", 2)},
		"right, by DNS name": {cert: a.issue("prod", 2, dns("2.prod.paxos"))},
		"wrong authority":    {cert: other.issue("prod", 2), says: "unknown authority"},
		"signed by itself":   {cert: selfSigned("prod", 2), says: "unknown authority"},
		"expired":            {cert: a.issue("prod", 2, expired), says: "expired"},
		"not yet valid":      {cert: a.issue("prod", 2, notYetValid), says: "not yet valid"},
		"for clients only":   {cert: a.issue("prod", 2, usage(x509.ExtKeyUsageClientAuth)), says: "incompatible key usage"},
		"of another server":  {cert: a.issue("prod", 3), says: `the certificate names "paxos:prod/3", and server 2 of cluster "prod"`},
		"of another cluster": {cert: a.issue("test", 2), says: `paxos:test/2`},
		"of a host":          {cert: a.issue("prod", 2, dns("127.0.0.1", "localhost")), says: "localhost"},
		"plain TCP":          {plain: true, says: "does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			heard := make(chan []byte, 1)
			go func() {
				defer close(heard)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(timeout))
				if c.plain {
					conn.Write([]byte(magic))
					io.ReadFull(conn, make([]byte, 5))
					return
				}
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c.cert}, ClientAuth: tls.RequireAnyClientCert})
				b := make([]byte, len(magic))
				n, _ := io.ReadFull(conn, b)
				heard <- b[:n]
			}()
			book := &logBook{}
			config := secureConfig(1, 3)
			config.Logger, config.Peers = book.logger(), map[paxos.ServerID]string{2: l.Addr().String()}
			config.Timing.MaxRedial = time.Hour
			start(t, config)
			b := <-heard
			if c.says == "" {
				assert.Equal(t, magic, string(b))
				return
			}
			assert.Empty(t, b)
			book.says(t, "peer can't be reached", "peer=2", c.says)
		})
	}
}

// Two servers that disagree are told so on both sides, with both values.
func TestBothSidesSayWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(*Config)
		there, words string
	}{
		"cluster":  {func(c *Config) { c.Members.Cluster = "test" }, `server 2 is of cluster \"test\"`, `server 2 is of cluster "test", server 1 is of cluster "prod"`},
		"stranger": {func(c *Config) { c.ID, c.Members.Acceptors = 9, []paxos.ServerID{1, 9} }, "server 9", "server 9 is not one of the other members that server 1 knows: [2]"},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := &logBook{}, &logBook{}
			config := plainConfig(1, 2)
			config.Logger = here.logger()
			a := start(t, config)
			config = plainConfig(2, 2)
			config.Logger, config.Peers = there.logger(), map[paxos.ServerID]string{1: a.Addr().String()}
			c.change(&config)
			b := start(t, config)
			here.says(t, "handshake refused", "reason="+name, c.words, "addr=127.0.0.1:")
			there.says(t, "peer can't be reached", "it refuses this server", c.words)
			assert.Positive(t, b.Stats().RefusedBy)
			nothing(t, a)
		})
	}
}

func TestTLSAgainstPlain(t *testing.T) {
	book := &logBook{}
	config := plainConfig(1, 2)
	config.Logger = book.logger()
	a := start(t, config)
	config = secureConfig(2, 2)
	config.Peers = map[paxos.ServerID]string{1: a.Addr().String()}
	start(t, config)
	book.says(t, "handshake refused", "it speaks TLS, not this protocol")
}

// A recording of a whole session, played again, gets nowhere under TLS.
func TestReplayedSession(t *testing.T) {
	config := secureConfig(1, 2)
	tr := start(t, config)
	raw, err := net.Dial("tcp", tr.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	tape := &recorder{Conn: raw}
	conn := tls.Client(tape, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{theAuthority().issue("prod", 2)}})
	p := packetOf(2, 1, 1)
	_, err = conn.Write(append(appendHello([]byte(magic), helloOf(2, 1, 7)), sealed(appendPacket(nil, &p))...))
	require.NoError(t, err)
	assert.Equal(t, uint64(1), receiveSoon(t, tr).Seq)

	again, err := net.Dial("tcp", tr.Addr().String())
	require.NoError(t, err)
	defer again.Close()
	again.Write(tape.written)
	eventually(t, "it is refused", func() bool { return tr.Stats().Refused[ReasonTLS] == 1 })
	nothing(t, tr)
	assert.True(t, tr.Stats().Peers[0].In, "the real one stays")
	p.Seq = 2
	conn.Write(sealed(appendPacket(nil, &p)))
	assert.Equal(t, uint64(2), receiveSoon(t, tr).Seq)
}

// A hello that another member recorded and says again, with its own certificate, is not taken for the first one's.
func TestReplayedHelloOfAnother(t *testing.T) {
	tr := start(t, secureConfig(1, 3))
	conn := dialBy(t, tr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{theAuthority().issue("prod", 3)}})
	f, err := conn.hello(helloOf(2, 1, 7))
	require.NoError(t, err)
	r, err := parseRefuse(f.body)
	require.NoError(t, err)
	assert.Equal(t, ReasonIdentity, r.reason)
	assert.Contains(t, r.words, `the certificate names "paxos:prod/3", and server 2 of cluster "prod"`)
}

type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.written = append(r.written, b...)
	return r.Conn.Write(b)
}

func TestIdentity(t *testing.T) {
	for cluster, want := range map[string]string{"prod": "paxos:prod/3", "my cluster": "paxos:my%20cluster/3", "a/b": "paxos:a%2Fb/3",
		"é%": "paxos:%C3%A9%25/3", "?#": "paxos:%3F%23/3", ":": "paxos::/3"} {
		u := Identity(cluster, 3)
		assert.Equal(t, want, u.String())
		// As it comes out of a certificate.
		cert := theAuthority().issue(cluster, 3)
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		require.NoError(t, err, cluster)
		assert.True(t, names(leaf, cluster, 3), cluster)
		assert.False(t, names(leaf, cluster, 4), cluster)
		assert.False(t, names(leaf, cluster+"x", 3), cluster)
	}
	assert.Equal(t, "3.prod.paxos", dnsIdentity("prod", 3))
	assert.Equal(t, "3.eu.prod-1.paxos", dnsIdentity("eu.prod-1", 3))
	for _, cluster := range []string{"Prod", "a b", "é", "a_b", "*"} {
		assert.Empty(t, dnsIdentity(cluster, 3), "two such clusters could have one name, or it is none")
	}
}

// Each of the user's hooks in a tls.Config still counts, and none of its settings weakens what has to be.
func TestUsersTLS(t *testing.T) {
	a := theAuthority()
	weak := a.config(a.issue("prod", 1))
	weak.MinVersion, weak.InsecureSkipVerify, weak.ClientAuth = tls.VersionTLS10, true, tls.NoClientCert
	weak.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	s := serverTLS(weak)
	c, _ := clientTLS(weak, "prod", 2)
	for _, hard := range []*tls.Config{s, c} {
		assert.Equal(t, uint16(tls.VersionTLS13), hard.MinVersion)
		assert.True(t, hard.SessionTicketsDisabled)
		assert.Nil(t, hard.ClientSessionCache)
	}
	assert.Equal(t, tls.RequireAndVerifyClientCert, s.ClientAuth)
	assert.NotNil(t, s.ClientCAs)
	assert.Equal(t, uint16(tls.VersionTLS10), weak.MinVersion, "it is a copy")

	loose := weak.Clone()
	weak.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return loose, nil }
	perClient, err := serverTLS(weak).GetConfigForClient(nil)
	require.NoError(t, err)
	assert.Equal(t, tls.RequireAndVerifyClientCert, perClient.ClientAuth)
	assert.True(t, perClient.SessionTicketsDisabled)
	weak.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }
	perClient, err = serverTLS(weak).GetConfigForClient(nil)
	require.NoError(t, err)
	assert.Nil(t, perClient, "which means: as without the hook")

	veto := errors.New("not today")
	config := secureConfig(1, 2)
	config.TLS.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.VerifiedChains) == 0 {
			return errors.New("no chains")
		}
		return veto
	}
	book := &logBook{}
	config.Logger, config.Timing.MaxRedial = book.logger(), 10*time.Millisecond
	x, y := start(t, config), start(t, secureConfig(2, 2))
	acquaint(t, x, y)
	book.says(t, "peer can't be reached", "not today")
	book.says(t, "handshake refused", "not today")
}
