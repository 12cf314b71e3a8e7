package paxoshttp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/singledecree/paxos"
)

// Decisions returns every decision of one server with an Index above after: the first of ClientConfig.Servers. An Index belongs to the
// storage of one server, so no other server can go on with it. To follow another one, make a Client whose first server that is. Range
// over the result only once.
//
// If the connection is lost, or the server restarts, Decisions connects again and goes on after the last Index, until ctx ends. No
// decision is left out, and none comes twice. It ends with paxos.ErrIndex if the server has another storage then, and with other errors
// that no repetition mends. Unknown is false for all of them.
//
// The ranges in within, of which there are at most 64, and the errors for forgotten names, are as in Decisions of a Node.
func (c *Client) Decisions(ctx context.Context, after uint64, within ...paxos.NameRange) iter.Seq2[paxos.Learned, error] {
	return func(yield func(paxos.Learned, error) bool) {
		if len(within) > maxRanges {
			yield(paxos.Learned{}, certain(opDecisions, "", fmt.Errorf("%d ranges: at most %d are allowed: %w", len(within), maxRanges, paxos.ErrTooLarge)))
			return
		}
		f := &follower{client: c, after: after, within: within, yield: yield}
		for pause := firstPause; ; pause = min(2*pause, lastPause) {
			before := f.after
			err := f.follow(ctx)
			switch {
			case f.over:
				return
			case ctx.Err() == nil && (isFinal(err) || f.broken):
			default:
				if f.after > before {
					pause = firstPause
				}
				if rest(ctx, pause) == nil {
					continue
				}
				err = ended(ctx, opDecisions, "", err)
			}
			yield(paxos.Learned{}, err)
			return
		}
	}
}

const opDecisions = "decisions"

// A follower reads the watch of a server.
type follower struct {
	client *Client
	after  uint64
	within []paxos.NameRange
	store  string // of which after is an Index; empty: not known
	yield  func(paxos.Learned, error) bool
	over   bool // the consumer wants no more
	broken bool // the server sends what no server should send
}

// follow reads until the connection ends, and returns why. It is nil only if the consumer wants no more.
func (f *follower) follow(ctx context.Context) *paxos.OpError {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := f.client.config.Silence
	alarm := time.AfterFunc(silence, func() { cancel(fmt.Errorf("no sign of life for %v", silence)) })
	defer alarm.Stop()
	q := question{op: opDecisions, method: http.MethodGet, call: CallWatch}
	answered, err := f.client.send(ctx, f.client.config.Servers[0], q, f.query(), "application/x-ndjson")
	if err != nil {
		return err
	}
	defer answered.Body.Close()
	if err := f.belongs(answered.Header.Get(storeHeader)); err != nil {
		f.broken = true
		return q.fails(fmt.Errorf("watch: %w", err))
	}
	in := bufio.NewReader(answered.Body)
	for {
		text, err := f.readLine(in)
		if err != nil {
			return q.fails(fmt.Errorf("watch: %w", lost(ctx, err)))
		}
		alarm.Reset(silence)
		if len(bytes.TrimSpace(text)) == 0 {
			continue // a sign of life
		}
		var l line
		if err := decode(text, &l); err != nil {
			f.broken = true
			return q.fails(fmt.Errorf("watch: %w", err))
		}
		alarm.Stop() // the consumer may take its time
		if failed := f.take(q, l); failed != nil || f.over {
			return failed
		}
		alarm.Reset(silence)
	}
}

// belongs returns an error if the Indexes of an answer are not those of the storage that the watch is about.
func (f *follower) belongs(store string) error {
	switch {
	case store == "":
		return fmt.Errorf("the answer has no header %s, so its Indexes are of no storage", storeHeader)
	case f.store != "" && f.store != store:
		return fmt.Errorf("%s: storage %.16q answers in place of %s: %w", storeHeader, store, f.store, paxos.ErrIndex)
	}
	f.store = store
	return nil
}

// query is how the watch is asked for.
func (f *follower) query() url.Values {
	q := url.Values{"after": {strconv.FormatUint(f.after, 10)}}
	if f.store != "" {
		q.Set("store", f.store)
	}
	for _, r := range f.within {
		q.Add("from", r.From)
		q.Add("to", r.To)
	}
	return q
}

// readLine reads a line of at most as many bytes as an answer may have.
func (f *follower) readLine(in *bufio.Reader) (text []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > f.client.config.MaxAnswer:
			f.broken = true
			return nil, fmt.Errorf("a line has over %d bytes: %w", f.client.config.MaxAnswer, paxos.ErrTooLarge)
		case err == nil:
			return text, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// take hands a line to the consumer. A line that ends the watch is an error.
func (f *follower) take(q question, l line) *paxos.OpError {
	if l.Code != "" {
		return failure{Text: l.Text, Code: l.Code}.opError(q.op, "", f.client.config.Servers[0], l.Code.Status())
	}
	d, ok, err := l.decision("")
	names, forgotten := l.names()
	if err == nil && (ok == forgotten || ok && l.Name == "") {
		err = errors.New("a line is neither a decision nor an error")
	}
	if err == nil && l.Index <= f.after {
		err = fmt.Errorf("Index %d after %d", l.Index, f.after)
	}
	if err != nil {
		f.broken = true
		return q.fails(fmt.Errorf("watch: %w", err))
	}
	f.after = l.Index
	if forgotten {
		f.over = !f.yield(paxos.Learned{Index: l.Index}, certain(q.op, "", &paxos.ForgottenError{Names: names}))
	} else {
		f.over = !f.yield(paxos.Learned{Decision: d, Index: l.Index}, nil)
	}
	return nil
}
