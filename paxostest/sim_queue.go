package paxostest

import "time"

// The kinds of planned events.
type eventKind uint8

const (
	eventScript  eventKind = iota // do
	eventArrival                  // parcel arrives
	eventSaved                    // the n-th Save of server ends
	eventLoaded                   // the Load of name at server ends
	eventListed                   // the page is read
)

// An event is planned. An event for an earlier life of a server does nothing.
type event struct {
	at     time.Duration
	seq    uint64
	what   eventKind
	server *server
	life   uint64
	n      uint64
	name   string
	parcel *parcel
	page   *page
	do     func()
}

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.seq < f.seq }

// A queue is a heap of events by time, and by the order in which they were planned.
type queue []event

func (q *queue) push(e event) {
	h := append(*q, e)
	*q = h
	for i := len(h) - 1; i > 0 && h[i].before(&h[(i-1)/2]); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (q *queue) pop() event {
	h := *q
	first, end := h[0], len(h)-1
	h[0] = h[end]
	h[end] = event{}
	h = h[:end]
	*q = h
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < end; c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
