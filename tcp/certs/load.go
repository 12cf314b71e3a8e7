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

// load makes a configuration of the contents, and checks it: a certificate that the others would refuse is found here.
func (c Config) load(all contents) (*tls.Config, error) {
	pool, err := authorities([]byte(all.ca))
	if err != nil {
		return nil, fmt.Errorf("CA: %s: %w", c.CA, err)
	}
	pair, err := tls.X509KeyPair([]byte(all.cert), []byte(all.key))
	if err != nil {
		return nil, fmt.Errorf("Cert, Key: %s, %s: %w", c.Cert, c.Key, err)
	}
	if pair.Leaf == nil { // nil with GODEBUG=x509keypairleaf=0
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("Cert: %s: %w", c.Cert, err)
		}
	}
	if err := c.checkLeaf(pair, pool); err != nil {
		return nil, fmt.Errorf("Cert: %s: %w", c.Cert, err)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// checkLeaf returns an error if the others would refuse the certificate.
func (c Config) checkLeaf(pair tls.Certificate, pool *x509.CertPool) error {
	if err := tcp.CheckIdentity(pair.Leaf, c.Cluster, c.ID); err != nil {
		return err
	}
	now := time.Now()
	switch {
	case now.Before(pair.Leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", pair.Leaf.NotBefore.Format(time.RFC3339))
	case now.After(pair.Leaf.NotAfter):
		return fmt.Errorf("it expired at %s", pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	above := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		above.AddCert(cert)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		o := x509.VerifyOptions{Roots: pool, Intermediates: above, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := pair.Leaf.Verify(o); err != nil {
			return fmt.Errorf("it is signed by %q: %w", pair.Leaf.Issuer, err)
		}
	}
	return nil
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
