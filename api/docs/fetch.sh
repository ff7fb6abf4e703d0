#!/bin/sh
# Fetches the renderer of the documentation pages: Swagger UI (Apache-2.0), as it is published on npm, pinned by version and
# checksum. Run it here to upgrade; the files it writes are committed.
set -eu
version=5.35.0
sha256=1b8e891893404ea4c3558b6a87e2a3e494e7eedba41168c2ece5800a391a6ea6
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "swagger-ui-dist@$version" >/dev/null && tar xzf "swagger-ui-dist-$version.tgz")
echo "$sha256  $work/swagger-ui-dist-$version.tgz" | sha256sum -c - >/dev/null
for file in swagger-ui-bundle.js swagger-ui.css; do
	sed '/^\/[/*]# sourceMappingURL=/d' "$work/package/$file" | gzip -9 -n >"$file.gz"
done
cp "$work/package/favicon-32x32.png" favicon.png
cp "$work/package/LICENSE" LICENSE-swagger-ui.txt
cp "$work/package/NOTICE" NOTICE-swagger-ui.txt
cp "$work/package/swagger-ui-bundle.js.LICENSE.txt" LICENSE-swagger-ui-bundle.txt
