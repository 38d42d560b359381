package registry

// What no real part of a test machine produces: answers of name servers and
// certificates of strangers.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
)

// get is the error of a GET request.
func get(err error) error {
	return &url.Error{Op: "Get", URL: "https://reg.example/v2/", Err: err}
}

func TestErrorsOfTheNetworkInAFewWords(t *testing.T) {
	for _, test := range []struct {
		err        error
		text, hint string
	}{
		{
			get(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "reg.example", IsNotFound: true}}),
			`look up host "reg.example": no such host`, "check the registry's name",
		},
		{
			get(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
			"x509: certificate signed by unknown authority", "give the certificate of the authority that reg.example is signed by: --ca FILE",
		},
		{get(http.ErrSchemeMismatch), "reg.example does not speak TLS", "plain HTTP is for registries on this host only"},
		{get(os.ErrDeadlineExceeded), "no answer from reg.example", "check that this machine reaches the registry"},
		{get(errors.New("a\nb\x1b[31m\tc")), "a b[31m c", ""},
	} {
		err := explain(test.err, "reg.example", noManifest)
		if err.Error() != test.text || !strings.HasPrefix(hint.Of(err), test.hint) {
			t.Errorf("%v\n got %q, hint %q\nwant %q, hint %q…", test.err, err, hint.Of(err), test.text, test.hint)
		}
		if !errors.Is(err, test.err) {
			t.Errorf("%v: the cause is lost", test.err)
		}
	}
}

func TestPlainHTTPIsForThisHostOnly(t *testing.T) {
	sent := false
	checked := limited{RoundTripper: roundTrip(func(*http.Request) (*http.Response, error) {
		sent = true
		return nil, errors.New("sent")
	})}
	for address, allowed := range map[string]bool{
		"http://127.0.0.1:5000/v2/": true,
		"http://127.9.8.7/v2/":      true,
		"http://[::1]:5000/v2/":     true,
		"http://localhost:5000/v2/": true,
		"https://10.0.0.1/v2/":      true,
		"http://10.0.0.1:5000/v2/":  false, // go-containerregistry would
		"http://x.localhost/v2/":    false, // a name server decides where that is
		"http://reg.example/v2/":    false,
	} {
		sent = false
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checked.RoundTrip(req); sent != allowed {
			t.Errorf("%s: sent is %v, want %v (%v)", address, sent, allowed, err)
		}
	}
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
