package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/singledecree/paxos/tcp"
)

// loadTLS reads the certificates of a server, and checks them: a certificate that others would refuse is better found here.
func loadTLS(c config) (*tls.Config, error) {
	authorities, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("ca: %s holds no certificate", c.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("cert, key: %w", err)
	}
	above := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			above.AddCert(cert)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{Roots: pool, Intermediates: above, KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			return nil, fmt.Errorf("cert: %s: %w", c.Cert, err)
		}
	}
	// An authority that issues DNS names only is left to tcp to judge.
	want := tcp.Identity(c.Cluster, c.ID).String()
	if len(pair.Leaf.DNSNames) == 0 && !slices.ContainsFunc(uris(pair.Leaf), func(u string) bool { return u == want }) {
		return nil, fmt.Errorf("cert: %s: it is of %q, not of %s", c.Cert, uris(pair.Leaf), want)
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

func uris(c *x509.Certificate) (all []string) {
	for _, u := range c.URIs {
		all = append(all, u.String())
	}
	return all
}

// versions says, for comparison, which versions of the certificates' files there are.
func versions(c config) (all [3]string) {
	for i, file := range []string{c.CA, c.Cert, c.Key} {
		if info, err := os.Stat(file); err == nil {
			all[i] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
		}
	}
	return all
}

// rotate gives the transport the certificates anew, as soon as their files change, or a signal asks for it, until ctx ends.
// What can't be used is logged, and what was used before stays.
func rotate(ctx context.Context, c config, used [3]string, t *tcp.Transport, logger *slog.Logger) {
	hangups, stop := hangUps()
	defer stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			used = [3]string{}
		case <-look.C:
		}
		now := versions(c)
		if now == used {
			continue
		}
		used = now
		config, err := loadTLS(c)
		if err == nil {
			err = t.SetTLS(config)
		}
		if err != nil {
			logger.Error("certificates not renewed: those before stay in use", "err", err)
		} else {
			logger.Info("certificates renewed", "until", config.Certificates[0].Leaf.NotAfter)
		}
	}
}
