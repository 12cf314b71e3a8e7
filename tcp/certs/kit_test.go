package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign returns a new certificate, signed by a, or by itself if a is nil.
func sign(a *authority, template *x509.Certificate) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template.SerialNumber = big.NewInt(1)
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	by, with := template, key
	if a != nil {
		by, with = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), with)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{cert, key}
}

func newAuthority(name string, above *authority) *authority {
	return sign(above, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

func (a *authority) issue(id paxos.ServerID, changes ...func(*x509.Certificate)) *authority {
	template := &x509.Certificate{URIs: []*url.URL{tcp.Identity("prod", id)}}
	for _, change := range changes {
		change(template)
	}
	return sign(a, template)
}

func pemOf(all ...*authority) string {
	var b bytes.Buffer
	for _, a := range all {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	}
	return b.String()
}

func keyOf(a *authority) string {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A directory has the files of server 1.
type directory string

func newDirectory(t testing.TB) directory { return directory(t.TempDir()) }

func (d directory) file(name string) string { return filepath.Join(string(d), name) }

func (d directory) write(t testing.TB, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(d.file(name), []byte(text), 0o600))
}

// put writes what belongs to the certificate c.
func (d directory) put(t testing.TB, c *authority, above ...*authority) {
	t.Helper()
	d.write(t, "1.key", keyOf(c))
	d.write(t, "1.crt", pemOf(append([]*authority{c}, above...)...))
}

func (d directory) config(logger *slog.Logger) Config {
	return Config{Cluster: "prod", ID: 1, CA: d.file("ca.crt"), Cert: d.file("1.crt"), Key: d.file("1.key"), Logger: logger}
}

// A book keeps what was logged.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines returns what was logged, without the times.
func (b *book) lines() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, line)
	}
	return all
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
