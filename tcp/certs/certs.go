// Package certs loads the certificates of a server from files, checks them, and loads them anew when the files change.
//
//	files, err := certs.Open(certs.Config{Cluster: "prod", ID: 1, CA: "ca.crt", Cert: "1.crt", Key: "1.key", Logger: logger})
//	t, err := tcp.Listen(tcp.Config{ID: 1, Members: members, Addr: ":7000", TLS: files.TLS(), Logger: logger})
//	go files.Watch(ctx, t.SetTLS)
//
// Whoever renews the certificates writes the files anew, in any order and by any means. What can't be used yet is tried
// again until it can, and what was used before stays in use meanwhile.
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

// A Config says whose certificates are where. All fields but Every and Logger are required.
type Config struct {
	// Cluster and ID are the server that the certificate has to name: see tcp.Identity.
	Cluster string
	ID      paxos.ServerID
	// CA, Cert and Key are the names of PEM files, of at most 1 MiB each. CA holds the authorities of all servers, one or
	// several. Cert holds this server's certificate and then the intermediate certificates, if there are any, that lead
	// to one of the authorities. Key holds its private key.
	CA, Cert, Key string
	// Every is how often Watch reads the files: 1 s by default, at least 1 ms.
	Every time.Duration
	// Logger gets one line when new files can't be used, and one when they are taken. Nil: nothing is logged. Its keys are
	// cluster, server, until, lines and err. It is called by a goroutine of its own, so that nobody waits for it.
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
	use *tls.Config // what was taken last
}

// Open reads the files that c names, and checks what they hold: that they fit together, that the certificate names the
// server, and that others would take it now, from a listener and from a dialer. An error names the field and the file.
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

// TLS returns a configuration for tcp.Config.TLS with the certificates that were taken last. It is the caller's.
func (f *Files) TLS() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.use.Clone()
}

// Look has Watch read the files now, and log what comes of it in any case, as when an operator sends SIGHUP. It does not wait.
func (f *Files) Look() {
	select {
	case f.look <- struct{}{}:
	default: // it is about to
	}
}

// Watch reads the files, again and again, and calls use with what is new in them and can be used, until ctx ends. It is to
// be called once, in a goroutine. use is mostly tcp.Transport.SetTLS; the configuration that it gets is its own. If use
// returns an error, the same is tried again.
//
// Files that can't be used yet, as those that are half written, can't be read at that moment, or are not valid before a
// later time, are read again every Config.Every until they can be used. The log says so once. A read that hangs
// holds up Watch, but not beyond the end of ctx; a call of use may be running when Watch returns.
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
	used   contents // of the files, as they were taken
	failed contents // as they could not be used; zero: they can be
	told   bool     // the log says that they can't be
}

// once looks at the files once. A failure is logged when the next look finds the same: files that are written one after the
// other do not fit together for a moment, and nobody need hear of that.
func (w *watch) once(ctx context.Context, asked bool) {
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
	var config *tls.Config
	if err == nil {
		config, err = f.config.load(now)
	}
	if err == nil {
		err = w.use(config.Clone())
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
	f.use = config
	f.mu.Unlock()
	f.lines.Log(slog.LevelInfo, "certificates renewed", "until", config.Certificates[0].Leaf.NotAfter)
}

// contents is what the files hold, or why they can't be read. It is comparable.
type contents struct{ ca, cert, key, failed string }

// contents reads the files. The error is in what it returns, too.
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
