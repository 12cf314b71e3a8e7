package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// How long certificates are valid by default, and at most.
const (
	authorityLife = 900 * day
	serverLife    = 90 * day
	longestLife   = 36500 * day
	day           = 24 * time.Hour
)

// backdated is how far the clocks of machines may be apart for a new certificate to be taken at once.
const backdated = time.Hour

// The names of an authority's files.
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

// An Authority signs the certificates of the servers of one cluster. It is for tests and for small clusters; a company with an authority
// of its own needs none of this.
//
// Whoever has the key of the Authority can act as any server. Keep it off the servers. The methods are safe for concurrent use.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// NewAuthority makes an Authority with a new key, in memory. It is valid for that long, at most 100 years; 0 means 900 days. An error
// names the argument that is wrong.
func NewAuthority(cluster string, valid time.Duration) (*Authority, error) {
	if cluster == "" || len(cluster) > paxos.MaxName || !utf8.ValidString(cluster) {
		return nil, fmt.Errorf("tcp: new authority: cluster: %q: want 1 to %d bytes of UTF-8", cluster, paxos.MaxName)
	}
	until, err := lifeOf(valid, authorityLife)
	if err != nil {
		return nil, fmt.Errorf("tcp: new authority: %w", err)
	}
	a := &Authority{cluster: cluster}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: a.name()}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-backdated), NotAfter: until}
	a.cert, a.key, err = sealed(template, nil)
	if err != nil {
		return nil, fmt.Errorf("tcp: new authority: %w", err)
	}
	return a, nil
}

// lifeOf returns the end of a certificate that is valid from now on.
func lifeOf(valid, byDefault time.Duration) (until time.Time, err error) {
	if valid == 0 {
		valid = byDefault
	}
	if valid < time.Second || valid > longestLife {
		return until, fmt.Errorf("valid: %v: want 1s to %v, or 0 for %v", valid, longestLife, byDefault)
	}
	return time.Now().Add(valid), nil
}

// sealed makes a certificate and its key, signed by above; nil: by itself.
func sealed(template *x509.Certificate, above *Authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	by, with := template, key
	if above != nil {
		by, with = above.cert, above.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), with)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// name is how the certificate of the authority names it.
func (a *Authority) name() string { return "authority of " + a.cluster }

// Create writes the certificate to DIR/ca.crt, and the key to DIR/ca.key, which only its owner may read. It makes the directory if there
// is none. If one of the files exists, the error is an fs.ErrExist, and nothing has changed: an Authority is never overwritten.
func (a *Authority) Create(dir string) error {
	key, err := encodeKey(a.key)
	if err == nil {
		err = create(dir, file{authorityKey, key, 0o600}, file{authorityCert, a.Cert(), 0o644})
	}
	if err != nil {
		return fmt.Errorf("tcp: create the authority of %q: %w", a.cluster, err)
	}
	return nil
}

// Cert returns the certificate in PEM: the contents of ca.crt. Every server of the cluster gets it. The caller owns the slice.
func (a *Authority) Cert() []byte { return encodeCert(a.cert) }

// Expires returns the end of the Authority's certificate. All certificates that it has signed end with it.
func (a *Authority) Expires() time.Time { return a.cert.NotAfter }

// ReadAuthority reads what [Authority.Create] wrote. It checks that the key is the one of the certificate, that the certificate is valid
// now, and that it is the authority of that cluster. A key that others may read is an error too. An error names the file. It is an
// fs.ErrNotExist if ca.crt and ca.key are both missing, and never if only one of them is.
func ReadAuthority(dir, cluster string) (*Authority, error) {
	a := &Authority{cluster: cluster}
	if err := a.read(filepath.Join(dir, authorityCert), filepath.Join(dir, authorityKey)); err != nil {
		return nil, fmt.Errorf("tcp: read the authority of %q: %w", cluster, err)
	}
	return a, nil
}

func (a *Authority) read(certFile, keyFile string) error {
	certText, err := readFile(certFile)
	keyText, err2 := readFile(keyFile)
	switch missing, missing2 := errors.Is(err, os.ErrNotExist), errors.Is(err2, os.ErrNotExist); {
	case missing && !missing2:
		return fmt.Errorf("%s is missing, and %s is there", certFile, keyFile)
	case missing2 && !missing:
		return fmt.Errorf("%s is missing, and %s is there", keyFile, certFile)
	case err != nil:
		return err
	case err2 != nil:
		return err2
	}
	if a.cert, err = parseOne(certText, "CERTIFICATE", x509.ParseCertificate); err != nil {
		return fmt.Errorf("%s: %w", certFile, err)
	}
	key, err := parseOne(keyText, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	var ok bool
	if a.key, ok = key.(*ecdsa.PrivateKey); !ok || !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return fmt.Errorf("%s: it is not the key of %s", keyFile, certFile)
	}
	now := time.Now()
	switch {
	case !a.cert.IsCA:
		return fmt.Errorf("%s: it is the certificate of no authority", certFile)
	case a.cert.Subject.CommonName != a.name():
		return fmt.Errorf("%s: it is %q, not %q", certFile, a.cert.Subject.CommonName, a.name())
	case now.Before(a.cert.NotBefore):
		return fmt.Errorf("%s: it is not valid before %s", certFile, a.cert.NotBefore.Format(time.RFC3339))
	case now.After(a.cert.NotAfter):
		return fmt.Errorf("%s: it expired at %s: make a new authority", certFile, a.cert.NotAfter.Format(time.RFC3339))
	}
	return checkPrivate(keyFile)
}

// checkPrivate returns an error if others may read the file.
func checkPrivate(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" { // Windows has no such modes
		return fmt.Errorf("%s: its mode is %#o, so that others may use it: want 0600", name, mode)
	}
	return nil
}

// parseOne parses the only PEM block of a text.
func parseOne[T any](text, kind string, parse func([]byte) (T, error)) (one T, err error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return one, fmt.Errorf("it holds no %s", kind)
	case block.Type != kind:
		return one, fmt.Errorf("it holds a %s, not a %s", block.Type, kind)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return one, fmt.Errorf("it holds more than one %s", kind)
	}
	return parse(block.Bytes)
}

// Issue signs a new certificate with a new key for one server, which shows it as a listener and as a dialer. It is valid for that long;
// 0 means 90 days. An error names the argument that is wrong. A certificate that would outlive the Authority is an error as well.
func (a *Authority) Issue(id paxos.ServerID, valid time.Duration) (*Certificate, error) {
	if id == 0 {
		return nil, errors.New("tcp: issue a certificate: id: 0 is not a valid ServerID")
	}
	until, err := lifeOf(valid, serverLife)
	if err == nil && until.After(a.cert.NotAfter) {
		err = fmt.Errorf("valid: until %s, and %s expires at %s: make a new authority, or choose less",
			until.Format(time.RFC3339), authorityCert, a.cert.NotAfter.Format(time.RFC3339))
	}
	if err != nil {
		return nil, fmt.Errorf("tcp: issue a certificate of server %d: %w", id, err)
	}
	return a.issue(id, until)
}

func (a *Authority) issue(id paxos.ServerID, until time.Time) (*Certificate, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: fmt.Sprintf("server %d of %s", id, a.cluster)},
		URIs: []*url.URL{tcp.Identity(a.cluster, id)}, NotBefore: time.Now().Add(-backdated), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	cert, key, err := sealed(template, a)
	if err != nil {
		return nil, fmt.Errorf("tcp: issue a certificate of server %d: %w", id, err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("tcp: issue a certificate of server %d: %w", id, err)
	}
	return &Certificate{ID: id, Expires: cert.NotAfter, Cert: encodeCert(cert), Key: text}, nil
}

// TLS returns a configuration for tcp.Config.TLS, with a new certificate of the server and with the Authority alone. It is for tests: no
// file is written. The caller owns the result.
func (a *Authority) TLS(id paxos.ServerID) (*tls.Config, error) {
	if id == 0 {
		return nil, errors.New("tcp: issue a certificate: id: 0 is not a valid ServerID")
	}
	until := time.Now().Add(serverLife)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	c, err := a.issue(id, until)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tcp: issue a certificate of server %d: %w", id, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// A Certificate is a certificate of a server with its private key.
type Certificate struct {
	ID      paxos.ServerID
	Expires time.Time
	// Cert and Key are PEM: the contents of Config.Cert and Config.Key.
	Cert, Key []byte
}

// Create writes the certificate to DIR/ID.crt, for example DIR/3.crt, and the key to DIR/3.key, which only its owner may read. It makes
// the directory if there is none. If one of the files exists, the error is an fs.ErrExist, and nothing has changed.
func (c *Certificate) Create(dir string) error {
	if err := create(dir, c.files()...); err != nil {
		return fmt.Errorf("tcp: create a certificate of server %d: %w", c.ID, err)
	}
	return nil
}

// Replace is Create, but it takes the place of the files that exist. A reader finds the whole old file or the whole new one, at any time.
// The key is replaced first, so for a moment the two do not fit: [Files.Watch] reads them again.
func (c *Certificate) Replace(dir string) error {
	if err := replace(dir, c.files()...); err != nil {
		return fmt.Errorf("tcp: replace the certificate of server %d: %w", c.ID, err)
	}
	return nil
}

func (c *Certificate) files() []file {
	name := strconv.FormatUint(uint64(c.ID), 10)
	return []file{{name + ".key", c.Key, 0o600}, {name + ".crt", c.Cert, 0o644}}
}

func encodeCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
