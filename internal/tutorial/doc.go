// Package tutorial has the tests that do what pages say, as a reader does: in an empty module, with processes.
package tutorial
