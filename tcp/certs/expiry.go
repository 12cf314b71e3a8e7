package certs

import (
	"crypto/x509"
	"log/slog"
	"time"
)

// An end is when the certificates of a server expire, and which file holds the one that expires first.
type end struct {
	at   time.Time
	life time.Duration // of the certificate that expires first, from its beginning to its end
	file string
}

// endOf returns the end of the chain that lasts longest. Each chain begins with the server's certificate, and ends with an authority.
func (c Config) endOf(chains [][]*x509.Certificate) (last end) {
	for _, chain := range chains {
		var first end
		for i, cert := range chain {
			if i > 0 && !cert.NotAfter.Before(first.at) {
				continue
			}
			first = end{cert.NotAfter, cert.NotAfter.Sub(cert.NotBefore), c.Cert}
			if i == len(chain)-1 {
				first.file = c.CA
			}
		}
		if first.at.After(last.at) {
			last = first
		}
	}
	return last
}

// warnedEarly bounds the default of Config.Warn.
const warnedEarly = 30 * day

// warnFrom returns when the log begins to warn of an end; false: never.
func (c Config) warnFrom(e end) (time.Time, bool) {
	early := c.Warn
	if early == 0 {
		early = min(e.life/3, warnedEarly)
	}
	return e.at.Add(-early), early > 0
}

// A warned is what the log says already of the end of certificates.
type warned struct {
	of end
	at time.Time
}

// tell logs that the certificates in use expire soon, or have expired, unless it did so lately.
func (w *warned) tell(f *Files) {
	f.mu.Lock()
	until := f.use.end
	f.mu.Unlock()
	now := time.Now()
	from, ever := f.config.warnFrom(until)
	if !ever || now.Before(from) {
		return
	}
	again, left := day, until.at.Sub(now)
	if left < day {
		again = time.Hour
	}
	if until == w.of && now.Sub(w.at) < again {
		return
	}
	w.of, w.at = until, now
	if left <= 0 {
		f.lines.Log(slog.LevelError, "certificates have expired: other servers refuse this one until they are renewed", "file", until.file, "until", until.at)
		return
	}
	f.lines.Log(slog.LevelWarn, "certificates expire soon: renew them", "file", until.file, "until", until.at, "left", left.Round(time.Second))
}
