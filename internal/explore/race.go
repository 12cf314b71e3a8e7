//go:build race

package explore

// Race says that the race detector is on, which makes exploring tenfold slower.
const Race = true
