package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/registry"
)

// Who we are, who the registry is, and what others on the way learn of it.

// wantsAccount makes a registry ask for the account lena:secret: at every
// request (basic), or where it gives tokens.
func wantsAccount(hub *server, token bool) fault {
	account := "Basic " + base64.StdEncoding.EncodeToString([]byte("lena:secret"))
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if token {
			if r.URL.Path == "/token" && r.Header.Get("Authorization") != account {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return wantsToken(hub)(w, r, next)
		}
		if r.Header.Get("Authorization") == account {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// dockerLogin writes what docker login writes: the account itself, or the name
// of a program that knows it (docker-credential-helpers).
func dockerLogin(t *testing.T, host string, helper bool) {
	t.Helper()
	dir := t.TempDir()
	config := map[string]any{"auths": map[string]any{host: map[string]string{
		"auth": base64.StdEncoding.EncodeToString([]byte("lena:secret")),
	}}}
	if helper {
		config = map[string]any{"credHelpers": map[string]string{host: "test"}}
		program := fmt.Sprintf("#!/bin/sh\nhost=$(cat) && [ \"$1 $host\" = 'get %s' ] && echo '{\"Username\":\"lena\",\"Secret\":\"secret\"}'\n", host)
		write(t, filepath.Join(dir, "docker-credential-test"), program, 0o700)
		t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(text), 0o600)
	t.Setenv("DOCKER_CONFIG", dir)
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestTheAccountOfDockerLoginIsUsed(t *testing.T) {
	for _, token := range []bool{false, true} {
		for _, helper := range []bool{false, true} {
			t.Run(fmt.Sprintf("token %v, helper %v", token, helper), func(t *testing.T) {
				testkit.HostUnchanged(t)
				hub, store := serve(t), first(openStore(t))
				ref := hub.push(t, two(t), "x:1")
				hub.inject(wantsAccount(hub, token))
				if err := wantFailure(t, ref); !strings.HasSuffix(err.Error(), ": unauthorized") {
					t.Errorf("without an account: %v", err)
				}
				dockerLogin(t, hub.host, helper)
				if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64, Retry: hasty}); err != nil {
					t.Fatal(err)
				}
				if _, err := registry.PushFrom(t.Context(), store, ref, hub.host+"/y:1", registry.Options{Retry: hasty}); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// A registry leads us to another host for its blobs, as those that keep them in
// a cloud's storage do. The password and the token stay here (CVE-2020-15157).
func TestAnotherHostLearnsNoPassword(t *testing.T) {
	for _, token := range []bool{false, true} {
		t.Run(fmt.Sprintf("token %v", token), func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub, storage, store := serve(t), serve(t), first(openStore(t))
			ref := hub.push(t, two(t), "x:1")
			storage.push(t, two(t), "x:1")
			dockerLogin(t, hub.host, false)
			account := wantsAccount(hub, token)
			hub.inject(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
				if account(w, r, next) {
					return true
				}
				if strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, "http://localhost:"+strings.Split(storage.host, ":")[1]+r.URL.Path, http.StatusTemporaryRedirect)
					return true
				}
				return false
			})
			var mutex sync.Mutex
			told := map[string]int{}
			storage.inject(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				mutex.Lock()
				defer mutex.Unlock()
				told[r.Header.Get("Authorization")+r.Header.Get("Cookie")]++
				return false
			})
			if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64, Retry: hasty}); err != nil {
				t.Fatal(err)
			}
			if len(told) != 1 || told[""] != 3 {
				t.Errorf("the other host was told %v", told)
			}
		})
	}
}

// secure is a registry with TLS, whose authority nobody knows, and the file with
// that one's certificate.
func secure(t *testing.T) (host, authority string) {
	t.Helper()
	web := httptest.NewUnstartedServer(ggcr.New(ggcr.Logger(quiet)))
	web.Config.ErrorLog = quiet // it complains of those who do not believe it
	web.StartTLS()
	t.Cleanup(web.Close)
	authority = filepath.Join(t.TempDir(), "ca.crt")
	write(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})), 0o600)
	host = strings.TrimPrefix(web.URL, "https://")
	ref, err := name.ParseReference(host + "/x:1")
	if err == nil {
		err = remote.Push(ref, two(t), remote.WithTransport(web.Client().Transport))
	}
	if err != nil {
		t.Fatal(err)
	}
	return host, authority
}

func TestARegistryWithItsOwnAuthority(t *testing.T) {
	testkit.HostUnchanged(t)
	host, authority := secure(t)
	store, _ := openStore(t)
	err := wantFailure(t, host+"/x:1")
	if !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Error(err)
	}
	if want := "give the certificate of the authority that " + host + " is signed by: --ca FILE, or as /etc/containers/certs.d/" + host + "/ca.crt"; hint.Of(err) != want {
		t.Errorf("hint %q, want %q", hint.Of(err), want)
	}
	if _, err := registry.Pull(t.Context(), store, host+"/x:1", registry.Options{Platform: amd64, CA: authority}); err != nil {
		t.Error(err)
	}
	write(t, authority, "no certificate", 0o600)
	if _, err := registry.Pull(t.Context(), store, host+"/x:1", registry.Options{Platform: amd64, CA: authority}); err == nil || !strings.Contains(err.Error(), "no certificate in PEM format") {
		t.Error(err)
	}
}

func TestMirrorsAreAskedFirst(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, mirror, broken := serve(t), serve(t), serve(t)
	ref := hub.push(t, two(t), "x:1")
	mirror.push(t, two(t), "copies/x:1")
	broken.inject(on("", status(503)))
	for name, c := range map[string]struct {
		mirrors         []string
		origin, copies  bool // who is asked for layers
		manifestsOrigin bool
	}{
		"has it":             {mirrors: []string{hub.host + "=" + mirror.host + "/copies"}, copies: true},
		"does not have it":   {mirrors: []string{hub.host + "=" + mirror.host}, origin: true, manifestsOrigin: true},
		"is ill":             {mirrors: []string{hub.host + "=" + broken.host, hub.host + "=" + mirror.host + "/copies"}, copies: true},
		"of another":         {mirrors: []string{mirror.host + "/copies"}, origin: true, manifestsOrigin: true},
		"nobody listens":     {mirrors: []string{hub.host + "=127.0.0.1:1"}, origin: true, manifestsOrigin: true},
		"does not exist yet": {origin: true, manifestsOrigin: true},
	} {
		t.Run(name, func(t *testing.T) {
			hub.forget()
			mirror.forget()
			_, err := registry.Pull(t.Context(), first(openStore(t)), ref, registry.Options{Platform: amd64, Mirrors: c.mirrors, Retry: registry.Retry{Attempts: 1}})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(hub.asked("/blobs/")) > 0; got != c.origin {
				t.Errorf("the registry was asked for %q", hub.asked(""))
			}
			if got := len(mirror.asked("/blobs/")) > 0; got != c.copies {
				t.Errorf("the mirror was asked for %q", mirror.asked(""))
			}
			if got := len(hub.asked("/manifests/")) > 0; got != c.manifestsOrigin {
				t.Errorf("the registry was asked for %q", hub.asked(""))
			}
		})
	}
}

func TestWhatAllOfThemSay(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, mirror := serve(t), serve(t)
	_, err := registry.Pull(t.Context(), first(openStore(t)), hub.host+"/x:1", registry.Options{Mirrors: []string{hub.host + "=" + mirror.host}})
	want := fmt.Sprintf("pull %q: not found in the registry (mirror %s: not found in the registry)", hub.host+"/x:1", mirror.host)
	if err == nil || err.Error() != want || hint.Of(err) != "check the name and the tag, which is latest if none is given; the command tags lists those that are there" {
		t.Errorf("%v\nwant %s", err, want)
	}
}
