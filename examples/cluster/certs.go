package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// An authority signs the certificates of the servers of one cluster, and of nobody else: whoever it signs for is taken for a
// server.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// backdated is how far the clocks of machines may be apart for a new certificate to be taken at once.
const backdated = time.Hour

// newAuthority makes one that is valid for ten times as long as the certificates that it is made for.
func newAuthority(cluster string, valid time.Duration) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority of " + cluster},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(10 * valid), IsCA: true, BasicConstraintsValid: true,
		MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

// issue returns a new certificate of a server and its new key. The server shows it as a listener and as a dialer.
func (a *authority) issue(cluster string, id paxos.ServerID, valid time.Duration) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: fmt.Sprintf("server %d of %s", id, cluster)},
		URIs: []*url.URL{tcp.Identity(cluster, id)}, NotBefore: now.Add(-backdated), NotAfter: now.Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if template.NotAfter.After(a.cert.NotAfter) {
		return nil, nil, fmt.Errorf("ca.crt expires on %s, before a new certificate would: make a new authority", a.cert.NotAfter.Format(time.DateOnly))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// save writes the authority to dir.
func (a *authority) save(dir string) error {
	key, err := encodeKey(a.key)
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(dir, "ca.key"), key); err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// loadAuthority reads what save wrote.
func loadAuthority(dir string) (*authority, error) {
	cert, err := readPEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	key, err := readPEM(filepath.Join(dir, "ca.key"), "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	a := &authority{}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return nil, fmt.Errorf("ca.crt: %w", err)
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("ca.key: %w", err)
	}
	var ok bool
	if a.key, ok = private.(*ecdsa.PrivateKey); !ok || !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, errors.New("ca.key: it is not the key of ca.crt")
	}
	return a, nil
}

func readPEM(file, kind string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s: it holds no %s", file, kind)
	}
	return block.Bytes, nil
}

// replaceFile writes a file that only its owner can read. A reader finds the whole old file or the whole new one, at any time.
func replaceFile(file string, text []byte) error {
	if err := os.WriteFile(file+".tmp", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// makeCerts signs a new certificate for each of the servers, by the authority in dir, which it makes if there is none.
func makeCerts(dir, cluster string, valid time.Duration, ids []paxos.ServerID) (made bool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	var a *authority
	if _, err = os.Stat(filepath.Join(dir, "ca.crt")); errors.Is(err, fs.ErrNotExist) {
		if a, err = newAuthority(cluster, valid); err == nil {
			made, err = true, a.save(dir)
		}
	} else if err == nil {
		a, err = loadAuthority(dir)
	}
	if err != nil {
		return made, err
	}
	for _, id := range ids {
		cert, key, err := a.issue(cluster, id, valid)
		if err != nil {
			return made, err
		}
		name := filepath.Join(dir, strconv.FormatUint(uint64(id), 10))
		if err := replaceFile(name+".key", key); err != nil {
			return made, err
		}
		if err := replaceFile(name+".crt", cert); err != nil {
			return made, err
		}
	}
	return made, nil
}

// runCerts is the subcommand certs.
func runCerts(out io.Writer, args []string) error {
	flags := flag.NewFlagSet("certs", flag.ContinueOnError)
	cluster, dir, days := flags.String("cluster", "", ""), flags.String("dir", ".", ""), flags.Int("days", 90, "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	switch {
	case *cluster == "":
		return usageError("certs: -cluster is missing")
	case *days < 1 || *days > 3650:
		return usageError(fmt.Sprintf("certs: -days: %d: want 1 to 3650", *days))
	case flags.NArg() == 0:
		return usageError("certs: no ID of a server")
	}
	var ids []paxos.ServerID
	for _, arg := range flags.Args() {
		id, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || id == 0 {
			return usageError(fmt.Sprintf("certs: %q is not the ID of a server: want a number above 0", arg))
		}
		ids = append(ids, paxos.ServerID(id))
	}
	made, err := makeCerts(*dir, *cluster, time.Duration(*days)*24*time.Hour, ids)
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	if made {
		fmt.Fprintf(out, "%s: the authority; give ca.crt to every server, and ca.key to none\n", filepath.Join(*dir, "ca.crt"))
	}
	for _, id := range ids {
		fmt.Fprintf(out, "%s: %s, and its key, for %d days\n", filepath.Join(*dir, fmt.Sprint(uint64(id))+".crt"), tcp.Identity(*cluster, id), *days)
	}
	return nil
}
