package registry

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// A registry of the internet may lead to any host of the internet, and not into
// our own network; one that is inside may do both.
func TestARedirectDoesNotLeadInside(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"https://reg.example/v2/", "https://storage.example/blob", nil},
		{"https://reg.example/v2/", "http://169.254.169.254/latest/meta-data", errInside},
		{"https://reg.example/v2/", "https://10.0.0.1/", errInside},
		{"https://reg.example/v2/", "https://[::1]:2375/", errInside},
		{"https://192.0.2.1/v2/", "https://127.0.0.1:6443/", errInside},
		{"https://10.0.0.1/v2/", "https://10.0.0.2/", nil},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:9000/", nil},
	} {
		if err := checkRedirect(request(t, c.to), []*http.Request{request(t, c.from)}); !errors.Is(err, c.want) {
			t.Errorf("%s → %s: %v, want %v", c.from, c.to, err, c.want)
		}
	}
	if err := checkRedirect(request(t, "https://reg.example/"), make([]*http.Request, 10)); err == nil {
		t.Error("redirects have no end")
	}
}

func request(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlainHTTPWhereItWasAskedFor(t *testing.T) {
	sent := ""
	checked := limited{plain: "reg.example:5000", RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent += r.URL.Host + " "
		return nil, errors.New("sent")
	})}
	for _, address := range []string{"http://reg.example:5000/v2/", "http://storage.example/blob", "http://reg.example/v2/"} {
		if _, err := checked.RoundTrip(request(t, address)); err == nil {
			t.Error("no error")
		}
	}
	if sent != "reg.example:5000 " {
		t.Errorf("sent to %s", sent)
	}
}

// As docker and podman have it: a folder for each registry.
func TestAuthoritiesOfOneRegistry(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "reg.example:5000"), 0o700); err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "reg.example:5000", "ca.crt"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for registry, want := range map[string]bool{"reg.example:5000": true, "reg.example": false} {
		pool, err := authorities([]string{"/nowhere", dir}, registry, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = web.Certificate().Verify(x509.VerifyOptions{Roots: pool, DNSName: "example.com"})
		if (err == nil) != want {
			t.Errorf("%s: %v, want trust: %v", registry, err, want)
		}
	}
}
