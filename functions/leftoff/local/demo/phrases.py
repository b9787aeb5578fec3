"""What people and the assistant say in the demo: short turns in many languages, and snippets to run.

``{name}`` stands for the function that is talked about, ``{lines}`` for the number of its lines. The long texts
of the conversation (source code, documentation) are not here: they come from the Python that runs the demo.
"""

from __future__ import annotations

from typing import NamedTuple


class Phrase(NamedTuple):
    """One exchange: what the person asks, what the assistant says first and last, and the note it keeps."""

    language: str
    ask: str
    answer: str
    closing: str
    note: str


PHRASES = (
    Phrase(
        "en",
        "How does {name} work? Please read the real source, not your memory of it 🙂",
        "I read all {lines} lines. The signature and the opening say most of it:",
        "Worth remembering: the edge cases sit at the top, the common path at the bottom.",
        "Read {name}; ask about its edge cases later.",
    ),
    Phrase(
        "zh",
        "请解释一下 {name} 的实现，重点说说边界情况。谢谢！🙏",
        "我读完了这 {lines} 行源码，最关键的是开头这一段：",
        "总结：先检查参数，再处理常见情况，最后才是例外。",
        "{name}：已读源码，边界情况清楚。",
    ),
    Phrase(
        "ar",
        "كيف تعمل الدالة {name}؟ أريد شرحًا قصيرًا مع مثال.",
        "قرأتُ الأسطر كلها وعددها {lines}، وهذه هي البداية:",
        "الخلاصة: الدالة تتحقق من المدخلات أولًا ثم تبني النتيجة خطوةً خطوة ✅",
        "تمت قراءة {name}.",
    ),
    Phrase(
        "he",
        "אפשר להסביר מה עושה {name}? בבקשה עם הקוד עצמו.",
        "קראתי את כל {lines} השורות. כך הפונקציה מתחילה:",
        "בקיצור: קודם בודקים את הקלט, אחר כך מחשבים, ובסוף מחזירים תוצאה חדשה 👍🏽",
        "קראתי את {name}.",
    ),
    Phrase(
        "hi",
        "{name} कैसे काम करता है? कृपया सरल शब्दों में समझाइए।",
        "मैंने इसकी सारी {lines} पंक्तियाँ पढ़ीं। शुरुआत यह है:",
        "संक्षेप में: पहले जाँच, फिर काम, और अंत में परिणाम। 🙏🏾",
        "{name} पढ़ लिया गया है।",
    ),
    Phrase(
        "ja",
        "{name} の実装を読んで、注意点を教えてください。",
        "{lines} 行すべて読みました。冒頭はこうなっています：",
        "要点：引数の検査が先で、よくある場合の処理は最後にあります。お疲れさまでした 🍵",
        "{name} は読了。注意点を記録済み。",
    ),
    Phrase(
        "de",
        "Was macht {name} genau, und warum so umständlich? Größe ist egal, Klarheit zählt.",
        "Ich habe die {lines} Zeilen gelesen. So fängt es an:",
        "Kurz: erst prüfen, dann rechnen – die Ausnahmen stehen bewusst außen.",
        "{name} gelesen, für später merken.",
    ),
    Phrase(
        "ko",
        "{name} 함수가 어떻게 동작하는지 설명해 주세요 😊",
        "{lines}줄을 모두 읽었습니다. 시작 부분은 다음과 같습니다:",
        "정리하면, 먼저 인자를 검사하고 그다음에 결과를 만듭니다.",
        "{name} 확인 완료.",
    ),
    Phrase(
        "ru",
        "Объясни, пожалуйста, как устроена {name}. Где там подвох?",
        "Прочитал все строки, их {lines}. Начинается так:",
        "Итог: сначала проверки, потом обычный путь; подвох – в пустых значениях.",
        "{name}: прочитано, подвох найден.",
    ),
    Phrase(
        "fr",
        "Peux-tu m'expliquer {name} ? J'ai déjà lu la documentation, ça ne suffit pas…",
        "J'ai lu les {lines} lignes. Voici le début :",
        "En bref : les cas limites d'abord, le chemin ordinaire ensuite. Ça t'aide ? 🥐",
        "{name} : lu, à revoir avec un exemple.",
    ),
    Phrase(
        "th",
        "ช่วยอธิบาย {name} หน่อยครับ ทำงานอย่างไร",
        "อ่านครบทั้ง {lines} บรรทัดแล้ว ส่วนต้นเป็นแบบนี้:",
        "สรุป: ตรวจค่าก่อน แล้วจึงสร้างผลลัพธ์",
        "อ่าน {name} แล้ว",
    ),
    Phrase(
        "es",
        "¿Qué hace {name}? ¿Y qué pasa si le doy una lista vacía? 🤔",
        "Leí las {lines} líneas. Empieza así:",
        "En resumen: valida primero, y con una entrada vacía no hace nada raro.",
        "{name}: leído; probar con entrada vacía.",
    ),
    Phrase(
        "el",
        "Πώς λειτουργεί η {name}; Θέλω να δω τον πραγματικό κώδικα.",
        "Διάβασα και τις {lines} γραμμές. Ξεκινά έτσι:",
        "Με λίγα λόγια: πρώτα έλεγχος, μετά υπολογισμός.",
        "Διαβάστηκε η {name}.",
    ),
    Phrase(
        "fa",
        "لطفاً توضیح بده که {name} چگونه کار می‌کند.",
        "هر {lines} خط را خواندم. آغاز آن چنین است:",
        "خلاصه: اول بررسی ورودی، سپس ساختن نتیجه 🌹",
        "{name} خوانده شد.",
    ),
    Phrase(
        "tr",
        "{name} nasıl çalışıyor? Işık tutar mısın, İstanbul'dan selamlar ☕",
        "{lines} satırın hepsini okudum. Başı şöyle:",
        "Özetle: önce denetim, sonra hesap.",
        "{name} okundu.",
    ),
    Phrase(
        "vi",
        "Giải thích giúp mình {name} hoạt động thế nào nhé?",
        "Mình đã đọc hết {lines} dòng. Phần đầu như sau:",
        "Tóm lại: kiểm tra trước, tính toán sau.",
        "Đã đọc {name}.",
    ),
    Phrase(
        "ta",
        "{name} எப்படி வேலை செய்கிறது என்று விளக்க முடியுமா?",
        "{lines} வரிகளையும் படித்தேன். தொடக்கம் இதோ:",
        "சுருக்கமாக: முதலில் சரிபார்ப்பு, பிறகு விடை 🌺",
        "{name} படிக்கப்பட்டது.",
    ),
    Phrase(
        "am",
        "እባክህ {name} እንዴት እንደሚሠራ አስረዳኝ።",
        "{lines} መስመሮቹን በሙሉ አንብቤያለሁ። መጀመሪያው ይህ ነው፦",
        "በአጭሩ፦ መጀመሪያ ማረጋገጥ፣ ከዚያ ውጤት።",
        "{name} ተነብቧል።",
    ),
    Phrase(
        "emoji",
        "👩🏽‍💻 ➜ {name} ❓ 👨‍👩‍👧‍👦 🏳️‍🌈 (my whole team wants to know 🇺🇳)",
        "📖 × {lines}. Here is the top of it:",
        "✅ Done. Short version: check 🔍, compute 🧮, return 🎁.",
        "{name} 🔖",
    ),
    Phrase(
        "maths",
        "Is {name} O(n·log n) or O(n²)? ∀x ∈ ℝ: ⌈x⌉ = −⌊−x⌋ is the kind of answer I like.",
        "From the {lines} lines, without guessing: it starts like this,",
        "and each item is touched once, so Θ(n) outside of what it calls. ∎",
        "{name}: cost is linear, ∵ one pass.",
    ),
)
"""Exchanges in twenty kinds of writing: CJK, right to left, combining marks, emoji sequences, symbols."""

SUBJECTS = (
    "json.decoder:py_scanstring", "textwrap:TextWrapper", "heapq:merge", "urllib.parse:urlsplit",
    "functools:singledispatch", "difflib:SequenceMatcher.find_longest_match", "bisect:insort_right",
    "statistics:quantiles", "collections:namedtuple", "contextlib:contextmanager", "shlex:split",
    "email.utils:parseaddr", "fnmatch:translate", "tempfile:NamedTemporaryFile", "csv:Sniffer.has_header",
    "gettext:c2py", "graphlib:TopologicalSorter", "html.parser:HTMLParser.parse_starttag",
    "inspect:getdoc", "ipaddress:summarize_address_range", "linecache:updatecache", "logging:Logger.callHandlers",
    "mimetypes:guess_extension", "os:walk", "pathlib:PurePath", "pprint:PrettyPrinter", "queue:Queue.get",
    "random:Random.sample", "sched:scheduler.run", "shutil:copytree", "smtplib:SMTP.sendmail", "socket:create_connection",
    "string:Template", "subprocess:run", "tarfile:TarInfo.frombuf", "threading:Barrier.wait", "timeit:Timer.autorange",
    "traceback:walk_tb", "types:new_class", "unittest.mock:create_autospec", "uuid:uuid5", "warnings:warn_explicit",
    "weakref:finalize", "xml.sax.saxutils:escape", "zipfile:is_zipfile", "ast:literal_eval", "argparse:ArgumentParser",
    "asyncio.locks:Semaphore", "asyncio.queues:Queue", "base64:b85encode", "calendar:monthrange", "cmd:Cmd.onecmd",
    "codecs:open", "colorsys:rgb_to_hls", "configparser:RawConfigParser.read", "copy:deepcopy", "dataclasses:asdict",
    "datetime:timedelta", "dis:findlinestarts", "enum:unique", "filecmp:cmp", "fractions:Fraction.limit_denominator",
    "ftplib:parse257", "getopt:getopt", "glob:translate", "gzip:compress", "hmac:HMAC", "http.cookies:SimpleCookie",
    "imaplib:Time2Internaldate", "keyword:iskeyword", "locale:format_string", "numbers:Complex", "ntpath:splitdrive",
    "operator:attrgetter", "optparse:OptionParser", "plistlib:loads", "posixpath:relpath", "pydoc:render_doc",
    "reprlib:Repr", "secrets:token_urlsafe", "selectors:DefaultSelector", "signal:Signals", "stat:filemode",
    "tokenize:generate_tokens", "trace:Trace", "wave:open", "wsgiref.headers:Headers", "zipapp:create_archive",
)
"""Functions and classes of the standard library whose source the assistant reads, as ``module:name``."""

SNIPPETS = (
    "__import__('statistics').quantiles([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], n=4)",
    "__import__('textwrap').shorten('The quick brown fox jumps over the lazy dog', width=24)",
    "[__import__('unicodedata').name(c) for c in 'שع漢🙂']",
    "2 ** 200 - 1",
    "__import__('json').dumps({'NUL': '\\0', 'quote': '\"', 'slash': '/'})",
    "list(__import__('difflib').unified_diff(['one', 'two'], ['one', 'three'], lineterm=''))",
    "__import__('fractions').Fraction(355, 113).limit_denominator(10)",
    "__import__('urllib.parse', fromlist=['quote']).quote('naïve café / 東京')",
    "sorted('zażółć gęślą jaźń'.split(), key=len)",
    "__import__('colorsys').rgb_to_hls(0.2, 0.4, 0.6)",
    "'straße'.upper(), 'ΣΊΣΥΦΟΣ'.lower(), 'İ'.lower()",
    "__import__('zlib').crc32(b'leftoff')",
)
"""Expressions that the assistant runs; their results are computed for real when the conversation is built."""
