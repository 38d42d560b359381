package image

// References: the names of images. What people write is short ("alpine"); the
// store and the registries use the full form ("docker.io/library/alpine:latest").
// The grammar is docker's, which image-spec and distribution-spec refer to.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"skiff.example/stage01-chroot/hint"
)

// Normalize returns the full form of a reference: with registry, repository,
// and a tag or a digest.
//
//	alpine                        → docker.io/library/alpine:latest
//	127.0.0.1:5000/demo           → 127.0.0.1:5000/demo:latest
//	alpine:3.20@sha256:…          → docker.io/library/alpine@sha256:…
//
// A digest says everything that a tag could say, so the tag beside it is dropped.
func Normalize(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err == nil && !isDigest(ref) {
		return named.String(), nil
	}
	if err == nil { // to the grammar it is a repository "sha256" with a very long tag
		err = errors.New("a digest alone does not say which repository")
	}
	err = fmt.Errorf("image reference %q: %w", ref, err)
	switch {
	case isDigest(ref):
		err = hint.Add(err, "write name@"+ref)
	case strings.Contains(ref, "://"):
		err = hint.Add(err, "leave out the scheme: write host/name:tag")
	case strings.ToLower(ref) != ref && isReference(strings.ToLower(ref)):
		err = hint.Add(err, "repository names are written in lower case")
	default:
		err = hint.Add(err, "a reference looks like name, name:tag, host:port/name:tag or name@sha256:…")
	}
	return "", err
}

// isDigest tells whether ref is a digest and nothing else.
func isDigest(ref string) bool { return digest.Digest(ref).Validate() == nil }

// isReference tells whether ref is one.
func isReference(ref string) bool {
	_, err := reference.ParseDockerRef(ref)
	return err == nil
}

// Familiar returns the shortest form of a reference, for people to read:
// the inverse of Normalize. What is no reference is returned as it is.
func Familiar(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	if tagged, ok := named.(reference.Tagged); ok && tagged.Tag() == "latest" {
		named = reference.TrimNamed(named)
	}
	return reference.FamiliarString(named)
}

// FamiliarTagged is Familiar with the tag "latest" written out.
func FamiliarTagged(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}
