package registry

// What our requests may do on the network and what comes back, checked in the
// one place that all of go-containerregistry's requests pass.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"skiff.example/stage05-images/image"
)

// answerTimeout is how long a registry may take to begin its answer.
const answerTimeout = time.Minute

// backoff: three attempts, after 0.2 s and 0.6 s. The pauses do not end with
// the context, so they are short: Ctrl-C should not wait for them.
var backoff = remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}

// errPlainHTTP says that a request without TLS would have left this host.
var errPlainHTTP = errors.New("plain HTTP is for registries on this host only")

// newTransport returns a transport with connections of its own.
func newTransport() *http.Transport {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerTimeout
	return t
}

// parse returns the full form of a reference, and the same for
// go-containerregistry, which is allowed to try plain HTTP on loopback.
func parse(ref string) (full string, parsed name.Reference, err error) {
	full, err = image.Normalize(ref)
	if err != nil {
		return "", nil, err
	}
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return "", nil, err
	}
	var options []name.Option
	if isLoopback(hostname(reference.Domain(named))) {
		options = append(options, name.Insecure)
	}
	parsed, err = name.ParseReference(full, options...)
	return full, parsed, err
}

// hostname returns host of host:port.
func hostname(hostport string) string {
	if i := strings.LastIndexByte(hostport, ':'); i > strings.LastIndexByte(hostport, ']') {
		hostport = hostport[:i]
	}
	return strings.Trim(hostport, "[]")
}

// isLoopback tells whether a host is this one: 127.0.0.0/8, ::1, localhost.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// limited is the transport with the checks.
type limited struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
//
// Without TLS anyone on the way can change the answer, and tags and passwords
// are not protected by digests. go-containerregistry would go without in
// private networks as well (10.0.0.0/8 …), and follow a redirect there.
func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !isLoopback(req.URL.Hostname()) {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errPlainHTTP
	}
	resp, err := l.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || req.Method != http.MethodGet {
		return resp, err
	}
	if err := checkLength(req, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// checkLength refuses an answer that announces another length than that of the
// blob that was asked for, and bounds manifests.
func checkLength(req *http.Request, resp *http.Response) error {
	path, length := first(req).URL.Path, resp.ContentLength
	switch {
	case strings.Contains(path, "/blobs/"):
		want, known := req.Context().Value(sizeKey{}).(int64)
		if known && length >= 0 && length != want {
			return fmt.Errorf("%w: the registry has %d bytes, and the manifest says %d", image.ErrSize, length, want)
		}
	case strings.Contains(path, "/manifests/"):
		if length > image.MaxJSON {
			return errTooLarge
		}
		resp.Body = &bounded{resp.Body, image.MaxJSON}
	}
	return nil
}

// first returns the request whose redirects led to req.
func first(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// sizeKey is the key of a context's value: the size of the blob asked for.
type sizeKey struct{}

// exactly makes an answer of another length than size an error. A context is
// the only thing that passes through go-containerregistry unchanged.
func exactly(ctx context.Context, size int64) context.Context {
	return context.WithValue(ctx, sizeKey{}, size)
}

// errTooLarge says that a manifest is longer than we read.
var errTooLarge = fmt.Errorf("manifest is larger than %d MiB", image.MaxJSON>>20)

// bounded is a body of which at most left bytes may be read.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
