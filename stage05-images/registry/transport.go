package registry

// What our requests may do on the network and what comes back, checked in the
// one place that all of go-containerregistry's requests pass.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// answerTimeout is how long a registry may take to begin its answer.
const answerTimeout = time.Minute

// errPlainHTTP says that a request without TLS would have left this host.
var errPlainHTTP = errors.New("plain HTTP is for registries on this host only, unless asked for with --plain-http")

// errInside says that somebody on the internet leads us into a private network.
var errInside = errors.New("an address of a private network, given by a registry that is not in one")

// certificateFolders are where docker and podman keep the certificates of
// authorities for single registries, in a folder HOST[:PORT] (man 5
// containers-certs.d).
var certificateFolders = []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}

// newTransport returns a transport to one registry, with connections of its own
// and all checks.
func newTransport(registry name.Registry, o Options) (http.RoundTripper, *http.Transport, error) {
	authorities, err := authorities(certificateFolders, registry.RegistryStr(), o.CA)
	if err != nil {
		return nil, nil, err
	}
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerTimeout
	t.DisableCompression = true // a blob is what it hashes to; nobody may unpack it on the way
	t.TLSClientConfig = &tls.Config{RootCAs: authorities}
	l := limited{RoundTripper: patient{t, o.Retry}}
	if o.PlainHTTP {
		l.plain = registry.RegistryStr()
	}
	return l, t, nil
}

// authorities returns whom to believe that a registry is the one it says: whom
// the system believes, whose certificates are in the registry's folder below one
// of folders, and those in file, if any.
func authorities(folders []string, registry, file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, dir := range folders {
		found, err := filepath.Glob(filepath.Join(dir, registry, "*.crt"))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	if file != "" {
		files = append(files, file)
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err == nil && !pool.AppendCertsFromPEM(pem) {
			err = &fs.PathError{Op: "read", Path: file, Err: errors.New("no certificate in PEM format")}
		}
		if err != nil {
			return nil, hint.Add(err, "it should be the certificate of the authority that has signed the registry's")
		}
	}
	return pool, nil
}

// parse returns the full form of a reference, and the same for
// go-containerregistry, which is allowed to try plain HTTP on loopback, or if
// plain says so.
func parse(ref string, plain bool) (full string, parsed name.Reference, err error) {
	full, err = image.Normalize(ref)
	if err != nil {
		return "", nil, err
	}
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return "", nil, err
	}
	parsed, err = name.ParseReference(full, insecure(reference.Domain(named), plain)...)
	return full, parsed, err
}

// insecure are the options for the name of something at host:port.
func insecure(hostport string, plain bool) []name.Option {
	if plain || isLoopback(hostname(hostport)) {
		return []name.Option{name.Insecure}
	}
	return nil
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

// isInside tells whether a host is an address that the internet does not lead
// to: this host's, a private network's, or link-local, where clouds keep secrets.
func isInside(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified())
}

// checkRedirect follows a redirect, unless a registry of the internet leads us
// inside. Passwords are not sent along: go-containerregistry gives them to the
// registry's own host only (CVE-2020-15157).
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than ten redirects")
	}
	if isInside(req.URL.Hostname()) && !isInside(via[0].URL.Hostname()) {
		return errInside
	}
	return nil
}

// limited is the transport with the checks.
type limited struct {
	http.RoundTripper
	plain string // host:port that may be spoken to without TLS
}

// RoundTrip implements http.RoundTripper.
//
// Without TLS anyone on the way can change the answer, and tags and passwords
// are not protected by digests. go-containerregistry would go without in
// private networks as well (10.0.0.0/8 …), and follow a redirect there.
func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !isLoopback(req.URL.Hostname()) && req.URL.Host != l.plain {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errPlainHTTP
	}
	resp, err := l.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || !strings.Contains(first(req).URL.Path, "/manifests/") {
		return resp, err
	}
	if resp.ContentLength > image.MaxJSON {
		resp.Body.Close()
		return nil, errTooLarge
	}
	resp.Body = &bounded{resp.Body, image.MaxJSON}
	return resp, nil
}

// first returns the request whose redirects led to req.
func first(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
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
