package tables

import "math/bits"

// mostMarks is the number of the latest numbers that Marks keeps at least. They take 128 KiB, and up to twice that.
const mostMarks = 1 << 20

// Marks is a set of numbers, of which later ones are higher, nearly. It forgets low numbers when there are very many. The zero Marks is empty.
type Marks struct {
	words []uint64
	from  uint64 // the first of words is of the numbers from 64 × from on
}

// Add adds a number. One that is below the first, or far below the highest, is left out.
func (m *Marks) Add(number uint64) {
	word := number / 64
	if len(m.words) == 0 || word >= m.from+uint64(len(m.words))+mostMarks/64 {
		m.words, m.from = m.words[:0], word
	}
	if word < m.from {
		return
	}
	for word >= m.from+uint64(len(m.words)) {
		m.words = append(m.words, 0)
	}
	if n := len(m.words) - mostMarks/64; n >= mostMarks/64 {
		m.words = m.words[:copy(m.words, m.words[n:])]
		m.from += uint64(n)
	}
	m.words[word-m.from] |= 1 << (number % 64)
}

// Has reports whether a number is in the set.
func (m *Marks) Has(number uint64) bool {
	word := number / 64
	return word >= m.from && word-m.from < uint64(len(m.words)) && m.words[word-m.from]>>(number%64)&1 != 0
}

// After returns the number up to which all numbers after that one are in the set. If the next one is not, it returns number itself.
func (m *Marks) After(number uint64) uint64 {
	for next := number + 1; ; {
		word := next / 64
		if word < m.from || word-m.from >= uint64(len(m.words)) {
			return next - 1
		}
		run := bits.TrailingZeros64(^(m.words[word-m.from] >> (next % 64)))
		if next += min(uint64(run), 64-next%64); next%64 != 0 || run == 0 {
			return next - 1
		}
	}
}

// Clear empties the set.
func (m *Marks) Clear() { m.words, m.from = m.words[:0], 0 }
