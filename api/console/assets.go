package console

import (
	"embed"
	"fmt"
)

//go:embed assets page.html
var files embed.FS

// Asset is a file that the pages load.
type Asset struct {
	Path        string // of its address
	ContentType string
	Body        []byte
	// Policy is the Content-Security-Policy for who opens the address by itself: a drawing can hold scripts, which run there and nowhere else.
	Policy string
}

// pagePolicy lets the page load what this server has, send its forms here, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// picturePolicy is for drawings.
const picturePolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"

// assetPath is where the assets are. The page names them by addresses relative to its own, so that it works below any path.
const assetPath = prefix + "assets/"

// assets are all that the page loads.
func assets(brand *Brand) ([]Asset, error) {
	var all []Asset
	for _, file := range []struct{ name, contentType, policy string }{
		{"page.js", "text/javascript; charset=utf-8", ""},
		{"page.css", "text/css; charset=utf-8", ""},
		{"icon.svg", "image/svg+xml", picturePolicy},
	} {
		body, err := files.ReadFile("assets/" + file.name)
		if err != nil {
			return nil, fmt.Errorf("read asset: %w", err)
		}
		all = append(all, Asset{Path: assetPath + file.name, ContentType: file.contentType, Body: body, Policy: file.policy})
	}
	if brand.Logo != nil {
		all = append(all, Asset{Path: assetPath + "logo", ContentType: brand.Logo.contentType, Body: brand.Logo.body, Policy: picturePolicy})
	}
	return all, nil
}
