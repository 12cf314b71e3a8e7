// Package straight is a sample: c.go uses b.go and a.go, and b.go uses a.go.
package straight

// A heap is generic, and keeps its fields to itself.
type heap[E any] struct {
	all   []E
	Count int
}

func (h *heap[E]) push(e E) { h.all, h.Count = append(h.all, e), h.Count+1 }
