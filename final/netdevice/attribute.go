package netdevice

import (
	"encoding/binary"
	"iter"
	"strings"

	"golang.org/x/sys/unix"
)

// The attributes at the end of rtnetlink messages, a length, a kind and a value each:
// "Routing attributes" in rtnetlink(7).

// align is what lengths are rounded up to.
const align = unix.RTA_ALIGNTO

// appendAttribute adds one attribute to a message.
func appendAttribute(message []byte, kind uint16, value []byte) []byte {
	message = binary.NativeEndian.AppendUint16(message, uint16(unix.SizeofRtAttr+len(value)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = append(message, value...)
	return append(message, make([]byte, -len(value)&(align-1))...)
}

// word is a value of 32 bits.
func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// text is a value that ends in NUL.
func text(value []byte) string { return strings.TrimRight(string(value), "\x00") }

// attributes are those at the end of a message. What is cut off is left out.
func attributes(data []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(data))
			if size < unix.SizeofRtAttr || size > len(data) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(data[2:]), data[unix.SizeofRtAttr:size]) {
				return
			}
			data = data[min(len(data), (size+align-1)&^(align-1)):]
		}
	}
}
