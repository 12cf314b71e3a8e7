package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// ALPN is the name of the protocol in a TLS handshake. Each dialer offers it, and nothing else. A listener refuses a dialer that offers
// others, such as a browser; it takes one that offers none, as programs before ALPN did.
//
// The name lets one port serve a cluster and HTTPS: see package tcp/alpn. A proxy that reads it in the ClientHello can pass the connection on
// as it is.
const ALPN = "paxos/1"

// Identity returns the URI that names a server in its certificate: "paxos:CLUSTER/ID". It is a subject alternative name: put it into
// x509.Certificate.URIs, or into the request to an authority. The name of the cluster may be any text; it is escaped as in a path:
// "paxos:prod/3", "paxos:my%20cluster/3".
//
// Some authorities issue DNS names only. They can name the server "ID.CLUSTER.paxos" instead, for example "3.prod.paxos". The name of the
// cluster must then consist of lower-case letters, digits, hyphens and dots. Wildcards do not match.
//
// A certificate may have other names as well. A certificate that names several servers is valid for each of them.
func Identity(cluster string, id paxos.ServerID) *url.URL {
	return &url.URL{Scheme: "paxos", Opaque: url.PathEscape(cluster) + "/" + strconv.FormatUint(uint64(id), 10)}
}

// dnsIdentity returns the DNS name of a server. It is empty if the name of the cluster can't be part of one.
func dnsIdentity(cluster string, id paxos.ServerID) string {
	for _, c := range []byte(cluster) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return ""
		}
	}
	return strconv.FormatUint(uint64(id), 10) + "." + cluster + ".paxos"
}

// names reports whether c is the certificate of that server.
func names(c *x509.Certificate, cluster string, id paxos.ServerID) bool {
	want := Identity(cluster, id).String()
	if slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == want }) {
		return true
	}
	dns := dnsIdentity(cluster, id)
	return dns != "" && slices.Contains(c.DNSNames, dns)
}

// CheckIdentity returns an error unless c is the certificate of that server: see [Identity]. The error says whose certificate c is.
func CheckIdentity(c *x509.Certificate, cluster string, id paxos.ServerID) error {
	if r := checkNames(c, cluster, id); r != nil {
		return r
	}
	return nil
}

// checkNames returns nil if c is the certificate of that server. Otherwise the refusal names that server and the one that c is of.
func checkNames(c *x509.Certificate, cluster string, id paxos.ServerID) *refusal {
	if names(c, cluster, id) {
		return nil
	}
	return refuse(ReasonIdentity, "the certificate names %s, and server %d of cluster %q must be named: %s",
		whom(c), id, cluster, Identity(cluster, id))
}

// whom says in words which server c is for, from the names that count.
func whom(c *x509.Certificate) string {
	var found []string
	for _, u := range c.URIs {
		found = append(found, u.String())
	}
	found = append(found, c.DNSNames...)
	if len(found) == 0 {
		return "no server: it has no URI and no DNS name"
	}
	text := strings.Join(found, ", ")
	if len(text) > maxWords/2 {
		text = text[:maxWords/2] + "…"
	}
	return strconv.Quote(text)
}

// A showing remembers when the certificate expires that a peer has shown last.
type showing struct{ last atomic.Pointer[time.Time] }

func (s *showing) see(c *x509.Certificate) { s.last.Store(&c.NotAfter) }

// expires returns the zero time if the peer has shown none.
func (s *showing) expires() time.Time {
	if last := s.last.Load(); last != nil {
		return *last
	}
	return time.Time{}
}

// expires returns when the first of the certificates in c expires; zero: c has none, or none that can be read.
func expires(c *tls.Config) (first time.Time) {
	for _, pair := range c.Certificates {
		leaf := pair.Leaf
		if leaf == nil && len(pair.Certificate) > 0 {
			leaf, _ = x509.ParseCertificate(pair.Certificate[0])
		}
		if leaf != nil && (first.IsZero() || leaf.NotAfter.Before(first)) {
			first = leaf.NotAfter
		}
	}
	return first
}

// checkTLS returns an error that names what config lacks.
func checkTLS(c *tls.Config) error {
	switch {
	case c == nil:
		return errors.New("TLS: nil")
	case c.RootCAs == nil:
		return errors.New("TLS.RootCAs: nil: every authority that this machine knows could name a server")
	case len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil:
		return errors.New("TLS.Certificates: empty, and GetCertificate is nil: a listener needs a certificate")
	case len(c.Certificates) == 0 && c.GetClientCertificate == nil:
		return errors.New("TLS.Certificates: empty, and GetClientCertificate is nil: a dialer needs a certificate")
	}
	return nil
}

// harden returns a copy of c with what both sides need. Each connection is authenticated by itself: a resumed one would not show whether
// the certificate is still valid.
func harden(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS13)
	c.SessionTicketsDisabled, c.ClientSessionCache = true, nil
	c.DynamicRecordSizingDisabled = true // small records at first serve browsers; here they would cost system calls
	c.NextProtos, c.EncryptedClientHelloConfigList, c.EncryptedClientHelloKeys = []string{ALPN}, nil, nil
	return c
}

// serverTLS returns the configuration of a listener: c, with a valid certificate required of each dialer.
func serverTLS(c *tls.Config) *tls.Config {
	roots, perClient := c.RootCAs, c.GetConfigForClient
	c = harden(c)
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs == nil {
		c.ClientCAs = roots
	}
	if perClient != nil {
		c.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			own, err := perClient(info)
			if own == nil || err != nil {
				return nil, err
			}
			own = own.Clone()
			own.GetConfigForClient = nil
			if own.RootCAs == nil {
				own.RootCAs = roots
			}
			return serverTLS(own), nil
		}
	}
	return c
}

// clientTLS returns the configuration of a dialer: c, with a valid certificate of that server required of the listener. That certificate
// does not name a host, so this function does the checks that crypto/tls would do.
//
// shown becomes the certificate that the dialer shows. It prefers one of an authority that the listener names. If there is none, it shows
// the first one all the same: the listener can then say what that certificate lacks. Without a certificate, the listener could only say
// that there is none.
func clientTLS(c *tls.Config, cluster string, id paxos.ServerID) (config *tls.Config, shown *tls.Certificate) {
	c, shown = harden(c), &tls.Certificate{}
	own, choose, certs := c.VerifyConnection, c.GetClientCertificate, c.Certificates
	c.InsecureSkipVerify = true
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if choose != nil {
			cert, err := choose(info)
			if cert != nil {
				*shown = *cert
			}
			return cert, err
		}
		*shown = certs[0]
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				*shown = certs[i]
				break
			}
		}
		return shown, nil
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("tcp: the listener shows no certificate")
		}
		o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if c.Time != nil {
			o.CurrentTime = c.Time()
		}
		for _, above := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(above)
		}
		chains, err := s.PeerCertificates[0].Verify(o)
		if err != nil {
			return notTaken(s.PeerCertificates[0], "RootCAs", err)
		}
		if r := checkNames(s.PeerCertificates[0], cluster, id); r != nil {
			return fmt.Errorf("tcp: %w", r)
		}
		if own == nil {
			return nil
		}
		s.VerifiedChains = chains
		return own(s)
	}
	return c, shown
}

// notTaken says why the certificate c of the other side is refused with err. pool is the name of the field that has the authorities.
func notTaken(c *x509.Certificate, pool string, err error) error {
	advice := ""
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		advice = fmt.Sprintf(", which is no authority of %s here: that lacks one, or the other side does not send an intermediate certificate", pool)
	}
	return fmt.Errorf("the certificate of %s is signed by %q%s: %w", whom(c), issuer(c), advice, err)
}

// issuer is the name of the authority that signed c, cut to fit a log line.
func issuer(c *x509.Certificate) string {
	name := c.Issuer.String()
	return name[:min(len(name), maxWords/2)]
}

// greetingFailed says, for the listener, why a TLS handshake failed.
func greetingFailed(err error) *refusal {
	var bad *tls.CertificateVerificationError
	switch {
	case errors.As(err, &bad) && len(bad.UnverifiedCertificates) > 0:
		err = notTaken(bad.UnverifiedCertificates[0], "ClientCAs or RootCAs", bad.Err)
	case isAlert(err) && strings.Contains(err.Error(), "certificate"):
		err = fmt.Errorf("the dialer does not take this server's certificate: %w", err)
	case strings.Contains(err.Error(), "didn't provide a certificate"):
		err = fmt.Errorf("the dialer shows no certificate: it has none, or none of an authority that is known here: %w", err)
	}
	return refuse(ReasonTLS, "the TLS handshake failed: %v", err)
}

// isAlert reports whether err is an alert of TLS: the other side ends the connection, and says why.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// callFailed says, for the dialer, why the listener ended the connection after the dialer's TLS handshake had succeeded. The listener
// does not take the certificate that was shown. err is an alert.
func callFailed(shown *tls.Certificate, err error) *refusal {
	if len(shown.Certificate) == 0 {
		return refuse(ReasonTLS, "this server has shown it no certificate: %v", err)
	}
	leaf := shown.Leaf
	if leaf == nil {
		var bad error
		if leaf, bad = x509.ParseCertificate(shown.Certificate[0]); bad != nil {
			return refuse(ReasonTLS, "it does not take this server's certificate, which is malformed: %v", err)
		}
	}
	advice := ""
	if strings.Contains(err.Error(), "unknown certificate authority") {
		advice = "it does not know that authority, or this server does not send an intermediate certificate: "
	}
	return refuse(ReasonTLS, "it does not take this server's certificate, of %s, signed by %q: %s%v", whom(leaf), issuer(leaf), advice, err)
}
