package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

// authorityLives is how many times as long as its certificates an authority is valid.
const authorityLives = 10

// An issue is one order of certificates.
type issue struct {
	dir, cluster string
	valid        time.Duration
	renew        bool // certificates that exist are replaced
	ids          []paxos.ServerID
}

// make signs a new certificate for each of the servers, by the authority in the directory. It makes the authority if there is none.
func (o issue) make() (all []*certs.Certificate, made bool, err error) {
	a, err := certs.ReadAuthority(o.dir, o.cluster)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = certs.NewAuthority(o.cluster, authorityLives*o.valid); err == nil {
			made, err = true, a.Create(o.dir)
		}
	}
	if err != nil {
		return nil, made, err
	}
	for _, id := range o.ids {
		c, err := a.Issue(id, o.valid)
		if err == nil {
			if o.renew {
				err = c.Replace(o.dir)
			} else {
				err = c.Create(o.dir)
			}
		}
		if err != nil {
			return all, made, err
		}
		all = append(all, c)
	}
	return all, made, nil
}

// makeCerts is what a program wants that owns the directory: certificates that exist are replaced.
func makeCerts(dir, cluster string, valid time.Duration, ids []paxos.ServerID) error {
	_, _, err := issue{dir, cluster, valid, true, ids}.make()
	return err
}

// runCerts is the subcommand certs.
func runCerts(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("certs", flag.ContinueOnError)
	o := issue{}
	flags.StringVar(&o.cluster, "cluster", "", "")
	flags.StringVar(&o.dir, "dir", ".", "")
	flags.BoolVar(&o.renew, "renew", false, "")
	days, timeout := flags.Int("days", 90, ""), flags.Duration("timeout", 10*time.Minute, "")
	if help, err := parseFlags(flags, out, args); help || err != nil {
		return err
	}
	switch {
	case o.cluster == "":
		return usageError("certs: -cluster is missing")
	case *days < 1 || *days > 3650:
		return usageError(fmt.Sprintf("certs: -days: %d: want 1 to 3650", *days))
	case *timeout <= 0:
		return usageError(fmt.Sprintf("certs: -timeout: %v: want more than 0", *timeout))
	case flags.NArg() == 0:
		return usageError("certs: no ID of a server")
	}
	o.valid = time.Duration(*days) * 24 * time.Hour
	addrs := map[paxos.ServerID]string{}
	for _, arg := range flags.Args() {
		text, addr, watched := strings.Cut(arg, "=")
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id == 0 {
			return usageError(fmt.Sprintf("certs: %q is not the ID of a server: want a number above 0", text))
		}
		if watched {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				return usageError(fmt.Sprintf("certs: server %d: %v", id, err))
			}
			addrs[paxos.ServerID(id)] = addr
		}
		o.ids = append(o.ids, paxos.ServerID(id))
	}
	if len(addrs) > 0 && !o.renew {
		return usageError("certs: an address is for -renew: the server there runs already")
	}
	all, made, err := o.make()
	if made {
		fmt.Fprintf(out, "%s: the authority; give ca.crt to every server, and ca.key to none\n", filepath.Join(o.dir, "ca.crt"))
	}
	for _, c := range all {
		fmt.Fprintf(out, "%s: %s, and its key, for %d days\n", filepath.Join(o.dir, fmt.Sprint(uint64(c.ID))+".crt"), tcp.Identity(o.cluster, c.ID), *days)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("certs: %w; -renew replaces the certificate of a server", err)
	}
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	return awaitCerts(ctx, out, *timeout, all, addrs)
}
