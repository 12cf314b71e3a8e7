package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/singledecree/paxos/tcp"
)

// A loaded is a configuration that can be used, and its end.
type loaded struct {
	config *tls.Config
	end    end
}

// load makes a configuration of the contents, and checks it: a certificate that the others would refuse is found here.
func (c Config) load(all contents) (l loaded, err error) {
	pool, err := authorities([]byte(all.ca))
	if err != nil {
		return l, fmt.Errorf("CA: %s: %w", c.CA, err)
	}
	pair, err := tls.X509KeyPair([]byte(all.cert), []byte(all.key))
	if err != nil {
		return l, fmt.Errorf("Cert, Key: %s, %s: %w", c.Cert, c.Key, err)
	}
	if pair.Leaf == nil { // nil with GODEBUG=x509keypairleaf=0
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return l, fmt.Errorf("Cert: %s: %w", c.Cert, err)
		}
	}
	if l.end, err = c.checkLeaf(pair, pool); err != nil {
		return l, fmt.Errorf("Cert: %s: %w", c.Cert, err)
	}
	l.config = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	return l, nil
}

// checkLeaf returns an error if the others would refuse the certificate. It also returns when they will.
func (c Config) checkLeaf(pair tls.Certificate, pool *x509.CertPool) (until end, err error) {
	if err := tcp.CheckIdentity(pair.Leaf, c.Cluster, c.ID); err != nil {
		return until, err
	}
	now := time.Now()
	switch {
	case now.Before(pair.Leaf.NotBefore):
		return until, fmt.Errorf("it is not valid before %s", pair.Leaf.NotBefore.Format(time.RFC3339))
	case now.After(pair.Leaf.NotAfter):
		return until, fmt.Errorf("it expired at %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	above := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return until, err
		}
		above.AddCert(cert)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		o := x509.VerifyOptions{Roots: pool, Intermediates: above, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
		chains, err := pair.Leaf.Verify(o)
		if err != nil {
			return until, fmt.Errorf("it is signed by %q: %w", pair.Leaf.Issuer, err)
		}
		until = c.endOf(chains)
	}
	return until, nil
}

// authorities reads PEM. A part that is no certificate is an error: a half-written file must not pass for one with fewer certificates.
func authorities(text []byte) (*x509.CertPool, error) {
	pool, n, begun := x509.NewCertPool(), 0, bytes.Count(text, []byte("-----BEGIN"))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if n++; block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("part %d is a %s, not a CERTIFICATE", n, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", n, err)
		}
		pool.AddCert(cert)
		text = rest
	}
	switch {
	case n != begun:
		return nil, fmt.Errorf("%d of its %d parts are cut short or malformed", begun-n, begun)
	case n == 0:
		return nil, errors.New("it holds no certificate")
	}
	return pool, nil
}
