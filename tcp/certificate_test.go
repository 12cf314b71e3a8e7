package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// trusting returns what a server uses that shows c and takes what these authorities have signed.
func trusting(c tls.Certificate, all ...*authority) *tls.Config {
	pool := x509.NewCertPool()
	for _, a := range all {
		pool.AddCert(a.cert)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{c}}
}

// Both sides say what is wrong with a certificate: its owner, its signer, and the missing part. In each case server 2 dials server 1.
func TestWhatIsWrongWithACertificateIsTold(t *testing.T) {
	old, renewed, same := newAuthorityNamed("year 1", nil), newAuthorityNamed("year 2", nil), newAuthorityNamed("year 1", nil)
	between := newAuthorityNamed("between", old)
	one := old.issue("prod", 1)
	withIntermediate := between.issue("prod", 2)
	withIntermediate.Certificate = append(withIntermediate.Certificate, between.cert.Raw)
	for name, c := range map[string]struct {
		one, two         *tls.Config
		listener, dialer []string // of the lines of 1 and of 2; none: it is let in
	}{
		"right":                       {one: trusting(one, old), two: trusting(old.issue("prod", 2), old)},
		"right, with an intermediate": {one: trusting(one, old), two: trusting(withIntermediate, old)},
		"an authority that server 1 does not know yet": {one: trusting(one, old), two: trusting(renewed.issue("prod", 2), old, renewed),
			listener: []string{`the certificate of "paxos:prod/2" is signed by "CN=year 2", which is no authority of ClientCAs or RootCAs here`, "unknown authority"},
			dialer:   []string{`it does not take this server's certificate, of "paxos:prod/2", signed by "CN=year 2": it does not know that authority`, "unknown certificate authority"}},
		"another authority of the same name": {one: trusting(one, old), two: trusting(same.issue("prod", 2), old, same),
			listener: []string{`the certificate of "paxos:prod/2" is signed by "CN=year 1", which is no authority of ClientCAs or RootCAs here`, "unknown authority"},
			dialer:   []string{`it does not take this server's certificate, of "paxos:prod/2", signed by "CN=year 1": it does not know that authority`}},
		"an intermediate that is not sent": {one: trusting(one, old), two: trusting(between.issue("prod", 2), old),
			listener: []string{`signed by "CN=between"`, "or the other side does not send an intermediate certificate"},
			dialer:   []string{`signed by "CN=between"`, "or this server does not send an intermediate certificate"}},
		"expired": {one: trusting(one, old), two: trusting(old.issue("prod", 2, expired), old),
			listener: []string{`the certificate of "paxos:prod/2" is signed by "CN=year 1": x509: certificate has expired`},
			dialer:   []string{`it does not take this server's certificate, of "paxos:prod/2"`, "expired certificate"}},
		"none": {one: trusting(one, old), two: without(trusting(old.issue("prod", 2), old)),
			listener: []string{"the dialer shows no certificate: it has none, or none of an authority that is known here"},
			dialer:   []string{"this server has shown it no certificate", "certificate required"}},
		"a listener of an authority that server 2 does not know": {one: trusting(one, old), two: trusting(old.issue("prod", 2), renewed),
			listener: []string{"the dialer does not take this server's certificate: remote error"},
			dialer:   []string{`the certificate of "paxos:prod/1" is signed by "CN=year 1", which is no authority of RootCAs here`}},
		"a listener that does not send its intermediate": {one: trusting(between.issue("prod", 1), old), two: trusting(old.issue("prod", 2), old),
			listener: []string{"the dialer does not take this server's certificate: remote error"},
			dialer:   []string{`the certificate of "paxos:prod/1" is signed by "CN=between"`, "or the other side does not send an intermediate certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			listener, dialer := &logBook{}, &logBook{}
			a := start(t, Config{ID: 1, Members: members(2), Addr: "127.0.0.1:0", TLS: c.one, Logger: listener.logger()})
			b := start(t, Config{ID: 2, Members: members(2), Addr: "127.0.0.1:0", TLS: c.two, Logger: dialer.logger(),
				Peers: map[paxos.ServerID]string{1: a.Addr().String()}, Timing: Timing{MaxRedial: 10 * time.Millisecond}})
			if len(c.listener) == 0 {
				arrives(t, b, a, 1)
				return
			}
			listener.says(t, append([]string{"level=WARN", "handshake refused", "reason=tls"}, c.listener...)...)
			dialer.says(t, append([]string{"level=WARN", "peer can't be reached", "peer=1"}, c.dialer...)...)
			assert.NotZero(t, a.Stats().Refused[ReasonTLS])
			require.NotContains(t, listener.String(), "connection reset")
		})
	}
}

// without has a dialer show no certificate.
func without(c *tls.Config) *tls.Config {
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	return c
}
