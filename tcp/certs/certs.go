// Package certs loads the certificates of a server from files, checks them, and loads them anew when the files change. It also makes
// certificates, for tests and for small clusters.
//
// # Load and renew
//
//	files, err := certs.Open(certs.Config{Cluster: "prod", ID: 1, CA: "ca.crt", Cert: "1.crt", Key: "1.key", Logger: logger})
//	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: ":7000", TLS: files.TLS(), Logger: logger})
//	go files.Watch(ctx, t.SetTLS)
//
// To renew the certificates, write the files anew, in any order and by any means. Files that can't be used yet are tried again until they
// can. The certificates in use stay in use meanwhile. The log tells early that they will expire.
//
// # Make
//
// An [Authority] signs certificates. Its key stays with the person that runs the cluster:
//
//	a, err := certs.NewAuthority("prod", 0)  // later: certs.ReadAuthority("certs", "prod")
//	err = a.Create("certs")                  // certs/ca.crt, certs/ca.key
//	c, err := a.Issue(1, 0)
//	err = c.Create("certs")                  // certs/1.crt, certs/1.key; to renew: c.Replace("certs")
//
// A test needs no files: [Authority.TLS] returns a configuration for tcp.Config.TLS.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// A Config names a server and its files. All fields but Every, Warn and Logger are required.
type Config struct {
	// Cluster and ID are the server that the certificate must name: see tcp.Identity.
	Cluster string
	ID      paxos.ServerID
	// CA, Cert and Key are the names of PEM files, of at most 1 MiB each. CA holds the authorities of all servers, one or several. Cert
	// holds the certificate of this server. The intermediate certificates that lead to an authority follow it, if there are any. Key
	// holds its private key.
	CA, Cert, Key string
	// Every is how often [Files.Watch] reads the files. The default is 1 s; at least 1 ms.
	Every time.Duration
	// Warn is how long before they expire [Files.Watch] logs that the certificates expire soon. It logs that once a day, and once an hour
	// from the last day on. The default is a third of the validity of the certificate that expires first, and at most 30 days. Below 0:
	// never.
	Warn time.Duration
	// Logger gets one line when new files can't be used, and one when they are taken. It also gets lines before they expire: see Warn.
	// Nil: nothing is logged. Its keys are cluster, server, file, until, left, lines and err. A goroutine of its own calls it, so a slow
	// Logger holds up nothing.
	Logger *slog.Logger
}

func (c Config) check() error {
	switch {
	case c.Cluster == "" || len(c.Cluster) > paxos.MaxName || !utf8.ValidString(c.Cluster):
		return fmt.Errorf("Config.Cluster: %q: want 1 to %d bytes of UTF-8", c.Cluster, paxos.MaxName)
	case c.ID == 0:
		return errors.New("Config.ID: 0 is not a valid ServerID")
	case c.Every < time.Millisecond:
		return fmt.Errorf("Config.Every: %v: want 1ms or more, or 0 for the default", c.Every)
	}
	for _, f := range []struct{ name, file string }{{"CA", c.CA}, {"Cert", c.Cert}, {"Key", c.Key}} {
		if f.file == "" {
			return fmt.Errorf("Config.%s: the name of a file is missing", f.name)
		}
	}
	return nil
}

// Files are the certificates of one server, in files. Its methods are safe for concurrent use.
type Files struct {
	config Config
	lines  *lines.Log
	look   chan struct{}
	read   func(file string) (string, error) // readFile; tests replace it
	opened contents

	mu  sync.Mutex
	use loaded // taken last
}

// Open reads the files that c names, and checks that they fit together and that the certificate names the server. It also checks that the
// others would take the certificate now, from a listener and from a dialer. An error names the field and the file.
func Open(c Config) (*Files, error) {
	if c.Every == 0 {
		c.Every = time.Second
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("tcp: certificates: %w", err)
	}
	f := &Files{config: c, lines: lines.New(c.Logger, "cluster", c.Cluster, "server", uint64(c.ID)), look: make(chan struct{}, 1), read: readFile}
	var err error
	if f.opened, err = f.contents(); err == nil {
		f.use, err = c.load(f.opened)
	}
	if err != nil {
		return nil, fmt.Errorf("tcp: certificates: %w", err)
	}
	return f, nil
}

// TLS returns a configuration for tcp.Config.TLS with the certificates that were taken last. The caller may change it.
func (f *Files) TLS() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.use.config.Clone()
}

// Expires returns when the certificates that were taken last expire. It is the first end on the way from the server's certificate to its
// authority. Renew them before: from then on other servers refuse this one.
func (f *Files) Expires() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.use.end.at
}

// Look makes [Files.Watch] read the files now, and log the result in any case. Call it, for example, when an operator sends SIGHUP. It
// does not wait.
func (f *Files) Look() {
	select {
	case f.look <- struct{}{}:
	default: // Watch is about to look
	}
}

// Watch reads the files again and again, until ctx ends. It calls use with each new configuration that can be used. Call Watch once, in a
// goroutine. use is mostly tcp.Transport.SetTLS; it owns the configuration that it gets. If use returns an error, Watch tries the same
// configuration again.
//
// Some files can't be used yet: they are half written, can't be read at the moment, or are not valid before a later time. Watch reads
// them again every Config.Every until they can be used. The log says so once.
//
// A read that hangs holds up Watch, but not beyond the end of ctx. A call of use may still run when Watch returns.
func (f *Files) Watch(ctx context.Context, use func(*tls.Config) error) {
	every := time.NewTicker(f.config.Every)
	defer every.Stop()
	w := watch{files: f, use: use, used: f.opened}
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-f.look:
			asked = true
		case <-every.C:
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.once(ctx, asked)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			return // the goroutine ends when its read returns
		}
	}
}

// A watch is what a Watch remembers.
type watch struct {
	files  *Files
	use    func(*tls.Config) error
	used   contents // contents of the files when they were taken
	failed contents // contents that could not be used; zero: they could
	told   bool     // the log says that they can't be used
	warned warned   // their end, as far as the log tells it
}

// once looks at the files once. It logs a failure only if the next look finds the same: files written one after the other do not fit
// together for a moment.
func (w *watch) once(ctx context.Context, asked bool) {
	w.read(ctx, asked)
	if ctx.Err() == nil {
		w.warned.tell(w.files)
	}
}

func (w *watch) read(ctx context.Context, asked bool) {
	f := w.files
	now, err := f.contents()
	if ctx.Err() != nil {
		return
	}
	if err == nil && now == w.used {
		if w.told || asked {
			f.lines.Log(slog.LevelInfo, "certificates unchanged: those in use stay")
		}
		w.failed, w.told = contents{}, false
		return
	}
	var next loaded
	if err == nil {
		next, err = f.config.load(now)
	}
	if err == nil {
		err = w.use(next.config.Clone())
	}
	if err != nil {
		same := now == w.failed
		if asked || same && !w.told {
			f.lines.Log(slog.LevelError, "certificates not renewed: those before stay in use, and the files are tried again", "err", err)
		}
		w.failed, w.told = now, asked || same
		return
	}
	w.used, w.failed, w.told = now, contents{}, false
	f.mu.Lock()
	f.use = next
	f.mu.Unlock()
	f.lines.Log(slog.LevelInfo, "certificates renewed", "until", next.end.at)
}

// contents is what the files hold, or why they can't be read. Two contents can be compared.
type contents struct{ ca, cert, key, failed string }

// contents reads the files. Its result holds the error, too.
func (f *Files) contents() (all contents, err error) {
	for _, file := range []struct {
		field, name string
		to          *string
	}{{"CA", f.config.CA, &all.ca}, {"Cert", f.config.Cert, &all.cert}, {"Key", f.config.Key, &all.key}} {
		if *file.to, err = f.read(file.name); err != nil {
			err = fmt.Errorf("%s: %w", file.field, err)
			all.failed = err.Error()
			return all, err
		}
	}
	return all, nil
}

// maxFile is more than the certificates of any cluster take.
const maxFile = 1 << 20

func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: it is larger than %d bytes", name, maxFile)
	}
	return string(text), err
}
