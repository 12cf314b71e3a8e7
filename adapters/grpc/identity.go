package grpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// checkTLS returns an error that names what c lacks.
func checkTLS(c *tls.Config) error {
	switch {
	case c == nil:
		return errors.New("TLS: nil")
	case c.RootCAs == nil:
		return errors.New("TLS.RootCAs: nil: every authority that this machine knows could name a server")
	case len(c.Certificates) == 0 && c.GetClientCertificate == nil:
		return errors.New("TLS.Certificates: empty, and GetClientCertificate is nil: a dialer needs a certificate")
	}
	return nil
}

// verify returns an error unless the authorities in pool have signed the first certificate for that usage.
func verify(certs []*x509.Certificate, pool *x509.CertPool, c *tls.Config, usage x509.ExtKeyUsage) error {
	o := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	if c.Time != nil {
		o.CurrentTime = c.Time()
	}
	for _, above := range certs[1:] {
		o.Intermediates.AddCert(above)
	}
	_, err := certs[0].Verify(o)
	return err
}

// clientTLS returns the configuration of a dial to that server.
func clientTLS(c *tls.Config, cluster string, id paxos.ServerID, hostNames bool) *tls.Config {
	c = c.Clone()
	c.ClientSessionCache = nil // each connection is authenticated by itself
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	if hostNames {
		return c
	}
	own := c.VerifyConnection
	c.InsecureSkipVerify = true // the certificate names no host, so this function does the checks of crypto/tls
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("grpc: the listener shows no certificate")
		}
		if err := verify(s.PeerCertificates, c.RootCAs, c, x509.ExtKeyUsageServerAuth); err != nil {
			return fmt.Errorf("grpc: TLS.RootCAs: %w", err)
		}
		if err := tcp.CheckIdentity(s.PeerCertificates[0], cluster, id); err != nil {
			return fmt.Errorf("grpc: %w", err)
		}
		if own == nil {
			return nil
		}
		return own(s)
	}
	return c
}

// clientOf returns the certificate of the other side of a stream, if it is that of the server. TLS has proved that the other side has its key,
// whether or not the host verifies certificates.
func clientOf(ctx context.Context, c *tls.Config, cluster string, id paxos.ServerID) (*x509.Certificate, error) {
	from, ok := peer.FromContext(ctx)
	if !ok || from.AuthInfo == nil {
		return nil, errors.New("the connection has no TLS: the grpc.Server needs credentials.NewTLS")
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, fmt.Errorf("the connection has credentials of type %q, not TLS", from.AuthInfo.AuthType())
	}
	certs := info.State.PeerCertificates
	if len(certs) == 0 {
		return nil, errors.New("the client shows no certificate: it has none, or the grpc.Server does not ask for one (ClientAuth of its TLS)")
	}
	pool := c.ClientCAs
	if pool == nil {
		pool = c.RootCAs
	}
	if err := verify(certs, pool, c, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, fmt.Errorf("the certificate of the client: TLS.ClientCAs or RootCAs: %w", err)
	}
	return certs[0], tcp.CheckIdentity(certs[0], cluster, id)
}
