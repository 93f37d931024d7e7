//! The extension of a name → the media type of the file.
//!
//! Only types that a browser treats in a way of its own, or that people download by name. A file
//! of any other extension gets no type, and `nosniff` keeps browsers from guessing one.

/// The media type of a file called `name`.
pub(super) fn of(name: &[u8]) -> Option<&'static str> {
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let extension = name.get(dot + 1..)?.to_ascii_lowercase();
    Some(match extension.as_slice() {
        b"html" | b"htm" => "text/html; charset=utf-8",
        b"css" => "text/css; charset=utf-8",
        b"js" | b"mjs" | b"cjs" => "text/javascript; charset=utf-8",
        b"txt" | b"text" | b"po" | b"pot" => "text/plain; charset=utf-8",
        b"md" => "text/markdown; charset=utf-8",
        b"csv" => "text/csv; charset=utf-8",
        b"vtt" => "text/vtt; charset=utf-8",
        b"ics" => "text/calendar; charset=utf-8",
        b"vcf" => "text/vcard; charset=utf-8",
        // These name their own encoding.
        b"xml" | b"xsl" => "text/xml",
        b"xhtml" => "application/xhtml+xml",
        b"rss" => "application/rss+xml",
        b"atom" => "application/atom+xml",
        b"json" | b"map" => "application/json",
        b"jsonld" => "application/ld+json",
        b"geojson" => "application/geo+json",
        b"webmanifest" => "application/manifest+json",
        b"wasm" => "application/wasm",
        b"pdf" => "application/pdf",
        b"rtf" => "application/rtf",
        b"swf" => "application/x-shockwave-flash",
        _ => {
            return image(&extension)
                .or_else(|| sound_or_film(&extension))
                .or_else(|| font(&extension))
                .or_else(|| archive(&extension))
                .or_else(|| office(&extension));
        }
    })
}

fn image(extension: &[u8]) -> Option<&'static str> {
    Some(match extension {
        b"jpg" | b"jpeg" | b"jpe" => "image/jpeg",
        b"png" => "image/png",
        b"apng" => "image/apng",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"jxl" => "image/jxl",
        b"heic" => "image/heic",
        b"heif" => "image/heif",
        b"svg" => "image/svg+xml",
        b"ico" | b"cur" => "image/x-icon",
        b"bmp" => "image/bmp",
        b"tif" | b"tiff" => "image/tiff",
        _ => return None,
    })
}

fn sound_or_film(extension: &[u8]) -> Option<&'static str> {
    Some(match extension {
        b"mp3" => "audio/mpeg",
        b"m4a" => "audio/mp4",
        b"aac" => "audio/aac",
        b"ogg" | b"oga" | b"opus" => "audio/ogg",
        b"wav" => "audio/wav",
        b"flac" => "audio/flac",
        b"weba" => "audio/webm",
        b"mid" | b"midi" => "audio/midi",
        b"mp4" | b"m4v" => "video/mp4",
        b"webm" => "video/webm",
        b"ogv" => "video/ogg",
        b"mov" => "video/quicktime",
        b"avi" => "video/x-msvideo",
        b"mkv" => "video/x-matroska",
        b"mpg" | b"mpeg" => "video/mpeg",
        b"wmv" => "video/x-ms-wmv",
        b"3gp" => "video/3gpp",
        b"ts" => "video/mp2t",
        b"m3u8" => "application/vnd.apple.mpegurl",
        _ => return None,
    })
}

fn font(extension: &[u8]) -> Option<&'static str> {
    Some(match extension {
        b"woff2" => "font/woff2",
        b"woff" => "font/woff",
        b"ttf" => "font/ttf",
        b"otf" => "font/otf",
        b"ttc" => "font/collection",
        b"eot" => "application/vnd.ms-fontobject",
        _ => return None,
    })
}

fn archive(extension: &[u8]) -> Option<&'static str> {
    Some(match extension {
        b"zip" => "application/zip",
        b"gz" | b"tgz" => "application/gzip",
        b"bz2" => "application/x-bzip2",
        b"xz" => "application/x-xz",
        b"zst" => "application/zstd",
        b"7z" => "application/x-7z-compressed",
        b"rar" => "application/vnd.rar",
        b"tar" => "application/x-tar",
        b"epub" => "application/epub+zip",
        b"jar" => "application/java-archive",
        b"bin" | b"exe" | b"dmg" | b"iso" | b"deb" | b"rpm" | b"msi" => "application/octet-stream",
        _ => return None,
    })
}

fn office(extension: &[u8]) -> Option<&'static str> {
    Some(match extension {
        b"doc" => "application/msword",
        b"xls" => "application/vnd.ms-excel",
        b"ppt" => "application/vnd.ms-powerpoint",
        b"docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        b"pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        b"odt" => "application/vnd.oasis.opendocument.text",
        b"ods" => "application/vnd.oasis.opendocument.spreadsheet",
        b"odp" => "application/vnd.oasis.opendocument.presentation",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_follows_from_the_last_extension_in_any_case() {
        for (name, media_type) in [
            ("/a/style.css", Some("text/css; charset=utf-8")),
            ("/index.min.MJS", Some("text/javascript; charset=utf-8")),
            ("/logo.SVG", Some("image/svg+xml")),
            ("/font.woff2", Some("font/woff2")),
            ("/a.tar.gz", Some("application/gzip")),
            ("/a.docx/b", None),
            ("/unknown.xyz", None),
            ("/.well-known/acme-challenge/token", None),
            ("/none", None),
            ("/dot.", None),
        ] {
            assert_eq!(of(name.as_bytes()), media_type, "{name}");
        }
    }
}
